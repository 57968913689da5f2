//! What a token must say to be believed. No network, no keys: claims, settings and a moment.
use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::infra::directory::oidc::Settings;
use crate::proto::jwt::Claims;
use crate::proto::jwt::Jwt;
use crate::proto::jwt::JwtError;

/// Characters of a national identity: 8 + RPPS has twelve, a structure's with its employee more.
const NATIONAL_ID_OCTETS_MAX: usize = 64;

/// Why a token is not taken. For the log; whoever showed it learns only that it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It cannot be read.
    #[error(transparent)]
    Form(#[from] JwtError),
    /// `alg` is not one of oidc.algorithms, or not the key's.
    #[error(
        "the algorithm of its signature is not one of oidc.algorithms, or does not fit the key"
    )]
    Algorithm,
    /// No key of the provider has its `kid`.
    #[error("the provider has no such key")]
    Key,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// `iss` is somebody else.
    #[error("it is not from oidc.issuer")]
    Issuer,
    /// `exp` is over or missing.
    #[error("it has expired, or does not say when it will")]
    Expired,
    /// `nbf` or `iat` lie in the future, or are no moments.
    #[error("it is of the future")]
    Future,
    /// `typ` is not one of oidc.types.
    #[error("it is no access token (oidc.types)")]
    Type,
    /// `acr` is not one of oidc.acr.
    #[error("its authentication is too weak (oidc.acr)")]
    Acr,
    /// `aud` names none of oidc.audiences.
    #[error("it is for somebody else (oidc.audiences)")]
    Audience,
    /// `azp` is not one of oidc.clients.
    #[error("it was given to other software (oidc.clients)")]
    Client,
    /// The provider says that it is not active.
    #[error("the provider says that it is not active")]
    Inactive,
    /// Nobody is named in it, or two people.
    #[error("it does not say for whom it is (oidc.subject_claim)")]
    Subject,
    /// `nonce` is not ours, or stands where none may stand.
    #[error("its nonce is wrong")]
    Nonce,
    /// `at_hash` is that of another access token.
    #[error("it belongs to another access token")]
    AccessHash,
    /// It is no logout message.
    #[error("it is no logout message")]
    Event,
    /// It was shown before.
    #[error("it was shown before")]
    Replay,
}

/// The claims of an access token.
pub(super) fn access_token(
    jwt: &Jwt<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Refused> {
    algorithm(jwt, settings)?;
    let claims = &jwt.claims;
    if claims.text("iss") != Some(settings.issuer.as_str()) {
        return Err(Refused::Issuer);
    }
    lifetime(claims, settings.skew, now)?;
    is_listed(&settings.types, access_type(jwt), Refused::Type)?;
    parties(claims, settings)
}

/// The provider's own answer about a token. It has told us that it is active; what it adds must
/// fit all the same.
pub(super) fn introspected(
    claims: &Claims,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Refused> {
    let issuer = claims.text("iss");
    if claims.has("iss") && issuer != Some(settings.issuer.as_str()) {
        return Err(Refused::Issuer);
    }
    lifetime(claims, settings.skew, now)?;
    // RFC 7662 §2.2 has `token_type`, Keycloak `typ`.
    let kind = claims.text("typ").or_else(|| claims.text("token_type"));
    if kind.is_some() {
        is_listed(&settings.types, kind, Refused::Type)?;
    }
    parties(claims, settings)
}

/// `acr`, `aud`, `azp`.
fn parties(claims: &Claims, settings: &Settings) -> Result<(), Refused> {
    is_listed(&settings.acr, claims.text("acr"), Refused::Acr)?;
    let audience = claims.texts("aud");
    let is_for_us = settings.audiences.iter().any(|ours| audience.contains(&ours.as_str()));
    if !settings.audiences.is_empty() && !is_for_us {
        return Err(Refused::Audience);
    }
    // RFC 9068 §2.2 and RFC 7662 §2.2 say `client_id`.
    let client = claims.text("azp").or_else(|| claims.text("client_id"));
    is_listed(&settings.clients, client, Refused::Client)
}

/// The algorithm is one that the configuration pins.
pub(super) fn algorithm(jwt: &Jwt<'_>, settings: &Settings) -> Result<(), Refused> {
    let is_pinned = settings.algorithms.contains(&jwt.algorithm);
    if is_pinned { Ok(()) } else { Err(Refused::Algorithm) }
}

/// `exp` must be there and not over; `nbf` and `iat` must not lie ahead.
pub(super) fn lifetime(claims: &Claims, skew: Duration, now: Timestamp) -> Result<(), Refused> {
    let now = now.as_seconds();
    let skew = skew.as_secs();
    let expires = claims.seconds("exp").ok_or(Refused::Expired)?;
    if now >= expires.saturating_add(skew) {
        return Err(Refused::Expired);
    }
    for name in ["nbf", "iat"] {
        if claims.has(name) {
            let moment = claims.seconds(name).ok_or(Refused::Future)?;
            if moment > now.saturating_add(skew) {
                return Err(Refused::Future);
            }
        }
    }
    Ok(())
}

/// `typ` as Pro Santé Connect and Keycloak claim it; elsewhere an access token says so in its
/// header (RFC 9068 §2.1), and is then what Keycloak calls `Bearer`.
fn access_type<'a>(jwt: &'a Jwt<'_>) -> Option<&'a str> {
    let claimed = jwt.claims.text("typ");
    let header = jwt.header_type.as_deref();
    claimed.or(header.map(|kind| if kind == "at+jwt" { "Bearer" } else { kind }))
}

fn is_listed(allowed: &[String], value: Option<&str>, refused: Refused) -> Result<(), Refused> {
    let fits = |value: &str| allowed.iter().any(|one| one.eq_ignore_ascii_case(value));
    if allowed.is_empty() || value.is_some_and(fits) { Ok(()) } else { Err(refused) }
}

/// A national identity: digits, and letters and a slash for people of a structure.
pub(super) fn national_id(claims: &Claims, name: &str) -> Option<String> {
    let id = claims.text(name)?.trim();
    let is_plain = id.bytes().all(|c| c.is_ascii_alphanumeric() || b"/-_.".contains(&c));
    (is_plain && !id.is_empty() && id.len() <= NATIONAL_ID_OCTETS_MAX).then(|| id.to_owned())
}
