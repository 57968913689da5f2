
mod trust;
mod outbound;
