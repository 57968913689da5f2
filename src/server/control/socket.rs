//! The Unix socket, both ends. It lies in the data folder, which only the relay's user enters.
use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::domain::limits;
use crate::flow::office::Office;
use crate::infra::net::Stop;
use crate::server::control::Caller;
use crate::server::control::Request;
use crate::server::control::answer;
use crate::server::control::wire;
use crate::server::control::wire::Response;

/// Octets of `sun_path` in `struct sockaddr_un` on Linux, with its final NUL.
const SOCKET_PATH_OCTETS_MAX: usize = 108;

/// Octets behind a request that are read away before the socket is closed.
const DRAINED_OCTETS_MAX: u64 = 1_048_576;

/// Why the control socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No relay listens there: none runs with this data folder.
    #[error("no relay listens on {0}")]
    NotRunning(PathBuf),
    /// A relay listens there already.
    #[error("a relay listens on {0} already")]
    Taken(PathBuf),
    /// What lies in that place is not a socket of ours.
    #[error("{path}: {reason}")]
    Unsafe {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system said no.
    #[error("{path}: {error}")]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The relay hung up, was too slow or said something else.
    #[error("the relay did not answer: {0}")]
    NoAnswer(String),
}

/// Answers administrators on the socket `path` until the relay stops, then removes it.
pub async fn serve(office: Arc<Office>, path: PathBuf, stop: Stop) -> Result<(), ControlError> {
    let socket = listen(&path).await?;
    let work = move |request, caller: Caller| {
        let office = Arc::clone(&office);
        async move { answer::handle(&office, request, &caller).await }
    };
    answer_until(&socket, work, stop).await;
    let _ = fs::remove_file(&path);
    Ok(())
}

/// Asks the relay that listens on `path`.
pub async fn ask(path: &Path, request: &Request) -> Result<Response, ControlError> {
    let stream = connect(path).await?;
    let talk = async {
        let (reader, mut writer) = stream.into_split();
        writer.write_all(wire::write_request(request).expose().as_bytes()).await?;
        writer.write_all(b"\n").await?;
        let mut line = Vec::new();
        BufReader::new(reader.take(limits::CONTROL_ANSWER_OCTETS_MAX))
            .read_until(b'\n', &mut line)
            .await?;
        io::Result::Ok(line)
    };
    let line = match timeout(limits::CONTROL_ANSWER_TIMEOUT, talk).await {
        Ok(Ok(line)) if line.ends_with(b"\n") => line,
        Ok(Ok(_)) => return Err(ControlError::NoAnswer("it hung up".to_owned())),
        Ok(Err(error)) => return Err(ControlError::NoAnswer(error.to_string())),
        Err(_) => return Err(ControlError::NoAnswer("it took too long".to_owned())),
    };
    serde_json::from_slice(&line).map_err(|error| ControlError::NoAnswer(error.to_string()))
}

/// A bound socket and the user who may talk to it.
struct ControlSocket {
    listener: UnixListener,
    owner: u32,
}

async fn listen(path: &Path) -> Result<ControlSocket, ControlError> {
    let system = |error| ControlError::System { path: path.to_owned(), error };
    let folder = path.parent().unwrap_or(Path::new("."));
    keep_others_out(folder)?;
    make_way(path).await?;
    let listener = short_path(path, |short| UnixListener::bind(short)).map_err(system)?;
    // The folder is closed to others, so nobody can come between these two lines.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(system)?;
    let owner = fs::symlink_metadata(path).map_err(system)?.uid();
    Ok(ControlSocket { listener, owner })
}

/// The data folder holds sealed mail: nobody else has business in it.
fn keep_others_out(folder: &Path) -> Result<(), ControlError> {
    let system = |error| ControlError::System { path: folder.to_owned(), error };
    // A link is followed: administrators put large folders on other disks.
    let metadata = fs::metadata(folder).map_err(system)?;
    if !metadata.is_dir() {
        let reason = "not a folder".to_owned();
        return Err(ControlError::Unsafe { path: folder.to_owned(), reason });
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(folder = %folder.display(), "the data folder was open to others; closed");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(system)?;
    }
    Ok(())
}

/// Removes what a killed relay left behind; anything else in that place stays.
async fn make_way(path: &Path) -> Result<(), ControlError> {
    let system = |error| ControlError::System { path: path.to_owned(), error };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !metadata.file_type().is_socket() {
        let reason = "something that is not a socket lies in the place of ours".to_owned();
        return Err(ControlError::Unsafe { path: path.to_owned(), reason });
    }
    match connect(path).await {
        Err(ControlError::NotRunning(_)) => fs::remove_file(path).map_err(system),
        _ => Err(ControlError::Taken(path.to_owned())),
    }
}

async fn connect(path: &Path) -> Result<UnixStream, ControlError> {
    use io::ErrorKind::ConnectionRefused;
    use io::ErrorKind::NotFound;
    let connecting = short_path(path, |short| std::os::unix::net::UnixStream::connect(short))
        .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
        .and_then(UnixStream::from_std);
    connecting.map_err(|error| match error.kind() {
        NotFound | ConnectionRefused => ControlError::NotRunning(path.to_owned()),
        _ => ControlError::System { path: path.to_owned(), error },
    })
}

/// Runs `use_it` with a name that fits into a socket address: a deep data folder is reached
/// through the descriptor of its folder.
fn short_path<T>(path: &Path, use_it: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() < SOCKET_PATH_OCTETS_MAX {
        return use_it(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return use_it(path);
    };
    let folder = File::open(folder)?;
    use_it(&Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

async fn answer_until<W, F>(socket: &ControlSocket, work: W, mut stop: Stop)
where
    W: Fn(Request, Caller) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits::CONTROL_CONNECTIONS_MAX));
    let mut sessions = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.stopped() => break,
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, mostly: they come back.
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        while sessions.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            drop(stream);
            continue;
        };
        // The folder keeps other users out; the kernel's word on who calls keeps them out twice.
        let credentials = stream.peer_cred();
        let process = credentials.as_ref().ok().and_then(|credentials| credentials.pid());
        let caller = credentials.map(|credentials| credentials.uid());
        if !caller.as_ref().is_ok_and(|uid| *uid == socket.owner || *uid == 0) {
            tracing::warn!(?caller, "another user at the control socket");
            continue;
        }
        let work = work.clone();
        let caller = Caller::of_process(caller.unwrap_or(socket.owner), process);
        let work = move |request| work(request, caller.clone());
        sessions.spawn(async move {
            let _permit = permit;
            if let Err(error) = session(stream, work, limits::CONTROL_LINE_TIMEOUT).await {
                tracing::debug!(%error, "control session ended");
            }
        });
    }
    // What an administrator began shall end: a half-made mailbox helps nobody.
    let finish = async { while sessions.join_next().await.is_some() {} };
    let _ = timeout(limits::CONTROL_LINE_TIMEOUT, finish).await;
}

/// One request, one answer. Either must pass the socket within `patience`.
async fn session<W, F>(stream: UnixStream, work: W, patience: Duration) -> io::Result<()>
where
    W: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let (mut reader, mut writer) = stream.into_split();
    let response = match timeout(patience, read_line(&mut reader)).await {
        Err(_) => Response::Failed("no request came in time".to_owned()),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(None)) => {
            let most = limits::CONTROL_LINE_OCTETS_MAX;
            Response::Failed(format!("a request is one line of at most {most} octets"))
        }
        Ok(Ok(Some(line))) => match wire::read_request(&line) {
            Err(reason) => Response::Failed(reason),
            Ok(request) => work(request).await,
        },
    };
    let mut line = serde_json::to_vec(&response).map_err(io::Error::other)?;
    line.push(b'\n');
    let write = async {
        writer.write_all(&line).await?;
        writer.shutdown().await
    };
    timeout(patience, write).await??;
    // A socket that is closed with octets unread takes the answer back.
    let (mut rest, mut nowhere) = (reader.take(DRAINED_OCTETS_MAX), tokio::io::sink());
    let _ = timeout(patience, tokio::io::copy(&mut rest, &mut nowhere)).await;
    Ok(())
}

/// The line without its end; `None` when it is too long or never ends. Wiped: it may hold a
/// password. The buffer is as large as the longest line, so that no copy is left behind by growth.
async fn read_line(mut reader: impl AsyncRead + Unpin) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(limits::CONTROL_LINE_OCTETS_MAX));
    loop {
        if let Some(end) = line.iter().position(|octet| *octet == b'\n') {
            line.truncate(end);
            return Ok(Some(line));
        }
        let room = (limits::CONTROL_LINE_OCTETS_MAX - line.len()) as u64;
        if room == 0 || (&mut reader).take(room).read_buf(&mut *line).await? == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests;
