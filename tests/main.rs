
mod mime;
