//! The socket's manners, with a work that needs no relay.
use super::*;

use crate::infra::net::StopHandle;

/// A socket in a fresh folder that counts what it is asked.
struct Place {
    folder: tempfile::TempDir,
    stop: StopHandle,
    serving: tokio::task::JoinHandle<()>,
}

impl Place {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = listen(&folder.path().join("control.sock")).await.unwrap();
        let (stop, stopped) = Stop::new();
        let work = |request, _| async move { Response::Done(format!("{request:?}")) };
        let serving = tokio::spawn(async move { answer_until(&socket, work, stopped).await });
        Self { folder, stop, serving }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    async fn say(&self, octets: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path()).await.unwrap();
        let _ = stream.write_all(octets).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }
}

#[tokio::test]
async fn a_request_gets_its_answer() {
    let place = Place::open().await;
    let answer = ask(&place.path(), &Request::Journal { entries: 1 }).await.unwrap();
    assert_eq!(answer, Response::Done("Journal { entries: 1 }".to_owned()));
    place.stop.stop();
    place.serving.await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_open_the_socket() {
    let place = Place::open().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path()), 0o600);
    assert_eq!(mode(place.folder.path()), 0o700);
}

#[tokio::test]
async fn a_data_folder_open_to_others_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    listen(&folder.path().join("control.sock")).await.unwrap();
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn nonsense_and_over_long_lines_get_an_answer() {
    let place = Place::open().await;
    assert!(place.say(b"hello\n").await.contains("not a request"));
    assert!(place.say(&[b'x'; 70_000]).await.contains("at most 65536"));
    assert!(
        place
            .say(b"{\"request\":\"journal\",\"entries\":1}\n")
            .await
            .contains("Journal { entries: 1 }")
    );
}

#[tokio::test]
async fn a_silent_caller_is_sent_away() {
    let (mut caller, relay) = UnixStream::pair().unwrap();
    let work = |_| async { Response::Done(String::new()) };
    let serving = tokio::spawn(session(relay, work, Duration::from_millis(20)));
    caller.write_all(b"{").await.unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("no request came in time"), "{answer}");
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_that_a_killed_relay_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(
        ask(&path, &Request::Journal { entries: 1 }).await,
        Err(ControlError::NotRunning(_))
    ));
    listen(&path).await.unwrap();
}

#[tokio::test]
async fn a_second_relay_in_the_same_folder_is_refused() {
    let place = Place::open().await;
    assert!(matches!(listen(&place.path()).await, Err(ControlError::Taken(_))));
}

#[tokio::test]
async fn a_link_or_a_file_in_place_of_the_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let target = folder.path().join("precious");
    fs::write(&target, "x").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(matches!(listen(&path).await, Err(ControlError::Unsafe { .. })));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    assert!(matches!(listen(&path).await, Err(ControlError::Unsafe { .. })));
    assert_eq!(fs::read_to_string(&target).unwrap(), "x");
}

#[tokio::test]
async fn a_folder_deeper_than_a_socket_address_is_long_works() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let path = deep.join("control.sock");
    let _socket = listen(&path).await.unwrap();
    assert!(connect(&path).await.is_ok());
}

#[tokio::test]
async fn more_callers_than_places_are_sent_away_and_the_others_served() {
    let place = Place::open().await;
    let mut idle = Vec::new();
    for _ in 0..limits::CONTROL_CONNECTIONS_MAX {
        idle.push(UnixStream::connect(place.path()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(
        ask(&place.path(), &Request::Journal { entries: 1 }).await,
        Err(ControlError::NoAnswer(_))
    ));
    idle.clear();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(ask(&place.path(), &Request::Journal { entries: 1 }).await.is_ok());
}
