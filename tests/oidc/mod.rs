//! OpenID Connect: tokens of friends and of strangers, and a real provider.
pub(crate) mod doors;
mod fake;
mod hostile;
mod logins;
mod mail;
mod programs;
pub(crate) mod real;
mod rotation;
