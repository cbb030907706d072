from __future__ import annotations

import numpy as np
import sklearn.metrics
import torch

from coto_lab.figures.confusion import confusion_matrix


def test_confusion_matrix_is_that_of_sklearn() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labels = torch.randint(3, (2, 40), generator=generator)
    for n_classes in (3, 4, 5):  # also where a class is neither true nor predicted
        theirs = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(n_classes))
        np.testing.assert_array_equal(confusion_matrix(predicted, labels, n_classes), theirs)
