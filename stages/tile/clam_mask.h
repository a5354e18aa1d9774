#pragma once

#include "stages/tile/glass.h"
#include "stages/tile/morphology.h"

namespace vtissue::stages {

/// CLAM's parameters under CLAM's names; the defaults are those of its create_patches_fp.
struct ClamOptions {
  int sthresh = 8;        ///< saturation (0..255) above it is tissue
  int mthresh = 7;        ///< side of the median filter of the saturation, pixels of the mask, odd; 1: none
  int close = 4;          ///< side of the closing's square, pixels of the mask; 0: none
  bool use_otsu = false;  ///< Otsu's threshold of this slide instead of sthresh
  double a_t = 100;       ///< smallest piece net of its holes, in patches of 512 x 512 level-0 pixels
  double a_h = 16;        ///< smallest hole that is kept, likewise
  int max_n_holes = 8;    ///< of a piece: only the largest so many are kept, the others are filled
  bool operator==(const ClamOptions&) const = default;
};

/// Tissue as CLAM finds it: OpenCV's 8-bit saturation, median, threshold, closing, pieces and holes by the area of
/// their contours (formats.md 1.6). `downsample`: level-0 pixels per pixel of the picture; CLAM takes 64. The pixels
/// are those of OpenCV. Pure.
BinaryImage clam_mask(const RgbView& picture, double downsample, const ClamOptions& options);

}  // namespace vtissue::stages
