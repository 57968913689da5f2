//! What all pages share, and who looks at them.
use std::convert::Infallible;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;

use crate::domain::limits;
use crate::domain::secret::Secret;
use crate::server::web::admin;
use crate::server::web::admin::throttle::Throttle;
use crate::server::web::desk::Desk;
use crate::server::web::desk::House;
use crate::server::web::passkeys::Attempts;
use crate::server::web::session::LANG_COOKIE;
use crate::server::web::session::Person;
use crate::server::web::session::SESSION_COOKIE;
use crate::server::web::session::Session;
use crate::server::web::session::Sessions;
use crate::server::web::texts::Lang;

/// A hospital has one address and many people, who all come back from the provider at eight.
const ARRIVALS: u32 = 10;

/// One relay's pages.
pub struct Site {
    /// What they know of the house.
    pub house: House,
    /// Whom they ask.
    pub desk: Arc<dyn Desk>,
    /// Who is logged in.
    pub sessions: Sessions,
    /// Who failed to log in as administrator.
    pub throttle: Throttle,
    /// Who came from the OpenID provider with nothing that it knows.
    pub arrivals: Throttle,
    /// Who looks certificates up.
    pub lookups: Throttle,
    /// Who showed a wrong second factor.
    pub second: Attempts,
}

impl Site {
    /// Pages of this house, asking this desk.
    pub fn new(house: House, desk: Arc<dyn Desk>) -> Self {
        let throttle = Throttle::new(house.logins_failed_per_minute);
        let arrivals = Throttle::new(house.logins_failed_per_minute.saturating_mul(ARRIVALS));
        Self {
            house,
            desk,
            sessions: Sessions::default(),
            throttle,
            arrivals,
            lookups: Throttle::new(limits::KEY_LOOKUPS_A_MINUTE),
            second: Attempts::default(),
        }
    }
}

/// Who asks for a page.
pub struct Visitor {
    /// From where; `None` in tests without a network.
    pub ip: Option<IpAddr>,
    /// In which language they read.
    pub lang: Lang,
    /// Path and query, for the link that switches the language.
    pub path: String,
    /// They came with a login, alive or ended.
    pub had_cookie: bool,
    /// Their login, with its token.
    pub session: Option<(Secret<String>, Arc<Session>)>,
}

impl FromRequestParts<Arc<Site>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Infallible> {
        let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let token = cookie(&parts.headers, SESSION_COOKIE);
        let had_cookie = token.is_some_and(|token| !token.is_empty());
        let session = match token {
            Some(token) => known(site, token).await,
            None => None,
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let lang = language(&parts.headers, parts.uri.query());
        Ok(Self { ip, lang, path: path.to_owned(), had_cookie, session })
    }
}

/// The login of a cookie. An administrator's counts as long as they are one: who is removed is out
/// at the next request.
async fn known(site: &Site, token: &str) -> Option<(Secret<String>, Arc<Session>)> {
    let session = site.sessions.find(token, site.desk.now())?;
    if let Person::Administrator(name) | Person::HalfInAdministrator(name) = &session.person {
        match admin::is_one(site, name).await {
            Some(true) => {}
            Some(false) => {
                tracing::warn!(door = "https", "the session of a former administrator has ended");
                site.sessions.end(token);
                return None;
            }
            // Nobody can say it now: not with this request.
            None => return None,
        }
    }
    Some((Secret::new(token.to_owned()), session))
}

/// The value of a cookie; of two with one name the first.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The language that the address asks for (`?lang=en`).
pub fn asked_language(query: Option<&str>) -> Option<Lang> {
    query?.split('&').find_map(|pair| pair.strip_prefix("lang=")).and_then(Lang::of_tag)
}

/// The language of a page: asked for, chosen before, or the browser's.
pub fn language(headers: &HeaderMap, query: Option<&str>) -> Lang {
    let chosen = || cookie(headers, LANG_COOKIE).and_then(Lang::of_tag);
    let accepted = || headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    asked_language(query)
        .or_else(chosen)
        .unwrap_or_else(|| Lang::accepted(accepted().unwrap_or_default()))
}

/// The same address in another language.
pub fn in_language(path: &str, lang: Lang) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("lang="));
    let mut query: Vec<&str> = kept.collect();
    let asked = format!("lang={}", lang.tag());
    query.push(&asked);
    format!("{path}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_keeps_the_rest_of_the_address() {
        assert_eq!(in_language("/inbox", Lang::En), "/inbox?lang=en");
        assert_eq!(
            in_language("/inbox?before=7&lang=en&x=1", Lang::Fr),
            "/inbox?before=7&x=1&lang=fr"
        );
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "x__Host-a=1; __Host-a=2;__Host-a=3".parse().unwrap());
        assert_eq!(cookie(&headers, "__Host-a"), Some("2"));
        assert_eq!(cookie(&headers, "Host-a"), None);
    }
}
