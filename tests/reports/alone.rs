//! One relay of a demonstration that was stopped, with another configuration.
use std::fs;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::support::running;
use crate::support::running::Running;

/// Stopped when dropped.
pub(super) struct Alone(Child);

impl Alone {
    /// Runs one relay until dropped.
    pub(super) fn serve(demo: &Running, operator: usize) -> Self {
        let log = fs::File::create(demo.folder.join(format!("serve{operator}.txt"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vaguemestre"))
            .args(["serve", "--config", super::config_of(demo, operator).to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let alone = Self(child);
        for _ in 0..600 {
            if std::net::TcpStream::connect(demo.door(operator, "imaps")).is_ok() {
                return alone;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the relay does not start");
    }

    /// SIGKILL.
    pub(super) fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A demonstration that was made and stopped again; the folder lives as long as the guard.
pub(super) fn stopped() -> (tempfile::TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Running::start(folder.path(), running::free_port_base(), &[]);
    assert!(demo.terminate().success());
    (folder, demo)
}
