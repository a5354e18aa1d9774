#define VTISSUE_CONV_KERNELS kConvAvx512
#define VTISSUE_CONV_LANES 16
#define VTISSUE_CONV_VECTORS 4
#include "models/kernels/conv.inl.h"
