#define VTISSUE_ROW_KERNELS kRowsAvx2
#include "models/kernels/rows.inl.h"
