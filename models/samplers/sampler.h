#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vtissue::models {

/// How a sampler places its steps. Which ones it knows is said beside its name in make_sampler().
enum class Spacing {
  kAuto,      ///< the sampler's own: linspace, leading for ddim, uniform for flow
  kLinspace,  ///< both ends of the training timesteps
  kLeading,   ///< multiples of a whole step, from 0
  kTrailing,  ///< multiples of a step, from 999 down
  kUniform,   ///< flow: 1 - k/N
  kDiffusers  ///< flow: linspace(1, 0.001, N), as diffusers' scheduler without given sigmas
};

std::string_view to_string(Spacing spacing);

struct SamplerOptions {
  std::string name = "dpmpp";
  int steps = 20;
  Spacing spacing = Spacing::kAuto;
  double shift = 1;             ///< flow: t <- shift t / (1 + (shift - 1) t), > 0
  int steps_offset = 0;         ///< added to every timestep of leading spacing, 0..999
  bool final_alpha_one = true;  ///< ddim: the last step ends without noise; false: at the noise of timestep 0
  bool half_state = false;      ///< dpmpp, dpmpp_heun: x and x0 are kept in float16, as a float16 pipeline does
};

/// One evaluation of the network.
struct Evaluation {
  double t = 0;            ///< what the network is told: epsilon models 0..999, maybe fractional; flow 0..1
  int step = 0;            ///< evaluations of one step share a layout of windows
  std::uint32_t draw = 0;  ///< which draw of latent_noise() the update takes; 0: none (the start is draw 0)
};

/// x = signal · x0 + noise · eps.
struct NoiseLevel {
  float signal = 1;
  float noise = 0;
};

/// What an update reads and changes: the same elements of every canvas, in any order. Where a span may be empty the
/// sampler says so.
struct StepBlock {
  std::span<float> x;                    ///< the state
  std::span<const float> prediction;     ///< the network's, guided
  std::span<float> history = {};         ///< if history_planes() >= 1
  std::span<float> history2 = {};        ///< if history_planes() == 2
  std::span<const float> noise = {};     ///< standard normal, if the evaluation has a draw
  std::span<const float> variance = {};  ///< the network's second half, not guided; if needs_variance()
};

/// A solver as a table of evaluations and of the elementwise update that follows each: coefficients depend on the
/// evaluation alone, so that a block of the canvas is updated like the whole of it (DESIGN 6). Calls no network and
/// draws nothing. Immutable; thread-safe.
class Sampler {
 public:
  const std::string& name() const { return name_; }
  bool predicts_velocity() const { return velocity_; }     ///< takes velocities; else epsilons
  bool needs_variance() const { return needs_variance_; }  ///< takes the network's variance channels
  int history_planes() const { return history_planes_; }  ///< canvases kept between evaluations: 0 to 2, first all zero
  std::span<const Evaluation> evaluations() const { return evaluations_; }

  /// [steps + 1] ratio of noise to signal (epsilon models) or share of noise (flow) before each step and at the end.
  std::span<const double> sigmas() const { return sigmas_; }

  /// What the network is given at evaluation i. Throws Error kUsage if there is no such evaluation.
  NoiseLevel level(int i) const;

  /// The update after evaluation i, in place. Throws Error kUsage if there is no such evaluation or a span has another
  /// length than it must.
  void update(int i, const StepBlock& block) const;

  /// x' = x·x + x0·x0 + … with x0 = (x - sigma · prediction) / alpha, the estimate of the image.
  struct Update {
    enum class Store {
      kNothing,
      kEstimate,  ///< history <- x0
      kStart      ///< history <- x, history2 <- prediction
    };
    float sigma = 0;
    float alpha = 1;
    float x = 1;
    float x0 = 0;
    float prediction = 0;
    float history = 0;
    float history2 = 0;
    float noise = 0;  ///< with learned variance: 0 or 1
    Store store = Store::kNothing;
    bool learned_variance = false;  ///< the noise's log variance lies between the two, at (variance + 1) / 2
    float log_variance_low = 0;
    float log_variance_high = 0;
    // The same of a multistep update in factors, for a float16 state: base x0 + weight (x0 - history) / r.
    float base = 0;
    float weight = 0;
    float inverse_r = 0;
  };

 private:
  friend class SamplerBuilder;
  Sampler() = default;
  void update_half(const Update& u, const StepBlock& block) const;

  std::string name_;
  bool velocity_ = false;
  bool needs_variance_ = false;
  bool half_state_ = false;
  int history_planes_ = 0;
  std::vector<Evaluation> evaluations_;
  std::vector<Update> updates_;
  std::vector<double> sigmas_;
};

/// For networks that predict epsilon:
///   dpmpp         DPM-Solver++(2M), midpoint, as diffusers' scheduler (models.md 7.1); linspace, leading, trailing
///   dpmpp_heun    its heun variant; the same spacings
///   dpmpp_pixcell DPM-Solver++(2M) in continuous time, as PixCell's scripts (7.2); ends at t = 0.001
///   ddim          deterministic DDIM as diffusers' scheduler (7.3); leading, linspace, trailing
///   ddim_respaced deterministic DDIM over respaced steps (7.3)
///   iddpm         ancestral over respaced steps with the learned variance (7.4)
/// and velocity:
///   flow          Euler (7.5); uniform, diffusers
///   flow_heun     Heun: two evaluations a step but for the last; the same spacings
/// Throws Error kUsage for a name, a number of steps or an option that does not fit.
Sampler make_sampler(const SamplerOptions& options);

/// Names that make_sampler() knows.
std::span<const std::string_view> sampler_names();

}  // namespace vtissue::models
