#define VTISSUE_ROW_KERNELS kRowsDefault
#include "models/kernels/rows.inl.h"
