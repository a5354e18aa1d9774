#define VTISSUE_CONV_KERNELS kConvDefault
#define VTISSUE_CONV_LANES 4
#define VTISSUE_CONV_VECTORS 2
#include "models/kernels/conv.inl.h"
