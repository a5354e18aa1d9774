#define VTISSUE_CONV_KERNELS kConvAvx512Bf16
#define VTISSUE_CONV_LANES 16
#define VTISSUE_CONV_VECTORS 4
#define VTISSUE_CONV_BF16
#include "models/kernels/conv.inl.h"
