#include "cli/app.h"

int main(int argc, char** argv) { return vtissue::cli::run_app(argc, argv); }
