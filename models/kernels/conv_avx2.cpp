#define VTISSUE_CONV_KERNELS kConvAvx2
#define VTISSUE_CONV_LANES 8
#define VTISSUE_CONV_VECTORS 2
#include "models/kernels/conv.inl.h"
