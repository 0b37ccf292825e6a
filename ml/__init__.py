"""PCA, KMeans and GBT runs in MLflow, and the report."""
