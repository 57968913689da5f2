//! OpenID Connect: tokens of friends and of strangers, and a real provider.
mod fake;
mod hostile;
mod logins;
pub(crate) mod real;
mod rotation;
