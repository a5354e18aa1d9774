// Reads an .h5ad once for every line "run" on its input and answers with the seconds and what it found: spots, genes,
// entries, their sum. benchmarks/h5ad.py starts it beside anndata.

#include <chrono>
#include <iostream>
#include <numeric>
#include <string>

#include "io/anndata.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: benchmark_h5ad FILE.h5ad, and lines \"run\" on the input\n";
    return 2;
  }
  try {
    for (std::string line; std::getline(std::cin, line);) {
      const auto start = std::chrono::steady_clock::now();
      const vtissue::io::AnnData data = vtissue::io::read_h5ad(argv[1]);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      const double sum = std::accumulate(data.x.values.begin(), data.x.values.end(), 0.0);
      std::cout << seconds.count() << ' ' << data.x.rows << ' ' << data.x.genes.size() << ' ' << data.x.values.size()
                << ' ' << sum << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
