"""Made-up feature vectors of rare classes: between rows (SMOTE), or by a generative model (a conditional GAN)."""
