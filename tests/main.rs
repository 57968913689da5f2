
mod trust;
