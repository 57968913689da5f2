
mod web;
