//! A web server for CRLs and OCSP answers that does as it is told, and counts.
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use tokio::task::JoinHandle;

/// What the server does with the next request.
#[derive(Clone)]
pub(super) enum Manner {
    /// 200 with these octets.
    Sends(Vec<u8>),
    /// 200 with these octets and an `ETag`; 304 to who has them.
    SendsOnce(Vec<u8>),
    /// What a rate limiter says.
    Forbids,
    /// The octets after a while.
    Slow(Duration, Vec<u8>),
}

pub(super) struct Server {
    /// With `/list.crl` behind it.
    pub(super) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    manner: Mutex<Manner>,
    requests: AtomicUsize,
}

impl Server {
    pub(super) async fn start(manner: Manner) -> Self {
        let shared = Arc::new(Shared { manner: Mutex::new(manner), requests: AtomicUsize::new(0) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/list.crl", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    pub(super) fn now(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    pub(super) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let manner = shared.manner.lock().unwrap().clone();
    match manner {
        Manner::Sends(octets) => octets.into_response(),
        Manner::SendsOnce(_) if request.headers().contains_key(header::IF_NONE_MATCH) => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        Manner::SendsOnce(octets) => ([(header::ETAG, "\"1\"")], octets).into_response(),
        Manner::Forbids => {
            let page = "<!DOCTYPE html><html><title>403 Forbidden</title></html>";
            (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Manner::Slow(wait, octets) => {
            tokio::time::sleep(wait).await;
            octets.into_response()
        }
    }
}
