#define VTISSUE_ROW_KERNELS kRowsAvx512
#include "models/kernels/rows.inl.h"
