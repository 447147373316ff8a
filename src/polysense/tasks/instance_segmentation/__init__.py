"""Instance segmentation: a mask for each labeled thing in an image column."""
