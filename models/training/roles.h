#pragma once

#include "models/training/train.h"
#include "models/training/training_set.h"

/// One function a role, called by train() once options are checked and threads are set. Each runs the
/// whole training and writes the model.
namespace vtissue::models::training {

void train_autoencoder(const TrainOptions& options, const TrainingSet& set);
void train_encoder(const TrainOptions& options, const TrainingSet& set);
void train_predictor(const TrainOptions& options, const TrainingSet& set);
void train_expression(const TrainOptions& options, const TrainingSet& set);
void train_stmdit(const TrainOptions& options, const TrainingSet& set);

}  // namespace vtissue::models::training
