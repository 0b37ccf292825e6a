"""Permutation importance: what a forecast loses when one feature's values are shuffled.

Plain numpy; whoever calls lets the model predict the shuffled rows. Measured on rows that the
model was not fitted to, it says what the model's forecasts rest on, where the gain while fitting
says what its trees split on.

Source: L. Breiman, Random Forests, Machine Learning 45, 2001, section 10.
"""

import numpy as np

from gold.returns import FloatArray


def shuffled_copies(features: FloatArray, repeats: int, seed: int) -> FloatArray:
    """Copies of the rows in each of which one feature's values change places.

    Args:
        features: Shape (rows, features).
        repeats: Copies for each feature.
        seed: Another one shuffles otherwise.

    Returns:
        Shape (features, repeats, rows, features).
    """
    rows, width = features.shape
    copies = np.broadcast_to(features, (width, repeats, rows, width)).copy()
    generator = np.random.default_rng(seed)
    for feature in range(width):
        for repeat in range(repeats):
            copies[feature, repeat, :, feature] = generator.permutation(features[:, feature])
    return copies


def lost_squares(outcome: FloatArray, prediction: FloatArray, shuffled: FloatArray) -> FloatArray:
    """How much the squared error of a forecast grows with each feature shuffled.

    Divided by the sum of outcome² over all rows judged, it is the fall of the out-of-sample R².

    Args:
        outcome: What came true, without NaN, shape (rows,).
        prediction: Forecasts of the rows as they are, shape (rows,).
        shuffled: Forecasts of `shuffled_copies`, shape (features, repeats, rows).

    Returns:
        Shape (features,), means over the repeats. Zero for a feature that the model ignores;
        below zero where it forecasts better without.
    """
    squares = np.sum((prediction - outcome) ** 2)
    return np.asarray((np.sum((shuffled - outcome) ** 2, axis=2) - squares).mean(axis=1))
