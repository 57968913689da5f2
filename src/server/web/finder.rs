//! The search box of professionals: mailboxes of the whole trust space.
use std::sync::Arc;

use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::limits;
use crate::flow::addressbook::Card;
use crate::flow::addressbook::Found;
use crate::flow::addressbook::Reach;
use crate::server::web::account;
use crate::server::web::account::Professional;
use crate::server::web::pages::FinderPage;
use crate::server::web::pages::FinderRow;
use crate::server::web::pages::page;
use crate::server::web::site::Site;
use crate::server::web::site::Visitor;

/// Where it is.
pub const FINDER: &str = "/account/directory";

/// What was typed.
#[derive(Deserialize)]
pub struct FinderQuery {
    #[serde(default)]
    q: String,
}

/// `GET /account/directory?q=…`
pub async fn find(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(query): Query<FinderQuery>,
) -> Response {
    let Some(person) = Professional::of(&visitor) else { return account::to_login(&visitor) };
    let t = visitor.lang.texts();
    let end = query.q.floor_char_boundary(limits::WEB_FINDER_OCTETS_MAX);
    let words = query.q[..end].trim();
    let (status, rows, notice) = match words.is_empty() {
        true => (StatusCode::OK, Vec::new(), None),
        false => match site.desk.find(words).await {
            Ok(Found { cards, .. }) if cards.is_empty() => {
                (StatusCode::OK, Vec::new(), Some(t.finder_nobody))
            }
            Ok(Found { cards, reach }) => {
                let notice = (reach == Reach::More).then_some(t.finder_more);
                (StatusCode::OK, cards.into_iter().map(row).collect(), notice)
            }
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Vec::new(), Some(t.finder_away)),
        },
    };
    let template = FinderPage {
        frame: person.frame(&visitor, t.finder_title, &visitor.path),
        action: FINDER,
        words: words.to_owned(),
        notice,
        rows,
    };
    page(status, &template)
}

fn row(card: Card) -> FinderRow {
    let profession = joined(&[&card.profession, &card.speciality], " – ");
    let place = joined(&[&card.structure, &card.service], " – ");
    let town = joined(&[&card.postal_code, &card.town], " ");
    FinderRow {
        address: card.address.to_string(),
        name: match card.given_name.is_empty() {
            true => card.display_name,
            false => format!("{} {}", card.given_name, card.name),
        },
        profession,
        place: joined(&[&place, &town], ", "),
        paper_free: card.paper_free,
        answers: card.answers,
    }
}

fn joined(parts: &[&str], between: &str) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(between)
}
