"""How the bundled regressor is trained: random pictures of OpenHead, detected landmarks, ridge regression."""
