//! A server that is measured: where it listens, who may log in, what it costs.
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::client::Client;
use crate::support::running::Running;

pub struct Server {
    pub name: String,
    pub door: SocketAddr,
    pub tls: Arc<ClientConfig>,
    /// Names and passwords.
    pub users: Vec<(String, String)>,
    /// The process; its descendants count as well.
    pub pid: u32,
}

impl Server {
    pub fn of_relay(running: &Running) -> Self {
        let accounts = running.json["accounts"].as_array().unwrap();
        let users = accounts.iter().filter_map(|account| {
            let address = account["address"].as_str().unwrap();
            let ours = address.starts_with('u') && address.ends_with("@hopital.mssante.test");
            ours.then(|| (address.to_owned(), running.password(address)))
        });
        Self {
            name: "Vaguemestre".to_owned(),
            door: running.door(0, "imaps"),
            tls: running.tls(),
            users: users.collect(),
            pid: running.pid(),
        }
    }

    /// A session of the user of this number, counted around.
    pub async fn open(&self, number: usize) -> Client {
        let (user, password) = &self.users[number % self.users.len()];
        let mut client = Client::connect(self.door, &self.tls).await;
        client.run(&format!("LOGIN \"{user}\" \"{password}\"")).await;
        client
    }

    /// User and system time of the processes, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.processes().into_iter().filter_map(cpu_ticks).sum::<f64>() / 100.0
    }

    /// Proportional set size of the processes, in octets: shared pages count once.
    pub fn memory(&self) -> u64 {
        self.processes().into_iter().filter_map(pss).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let mut parents = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let Some(fields) = stat(pid) else { continue };
            parents.push((pid, fields[1].parse::<u32>().unwrap()));
        }
        let mut found = vec![self.pid];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next];
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        found
    }
}

/// The fields behind the program's name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit(") ").next()?.split(' ').map(str::to_owned).collect())
}

/// Own time and that of children that have ended. Linux counts in hundredths of a second.
fn cpu_ticks(pid: u32) -> Option<f64> {
    stat(pid)?[11..15].iter().map(|field| field.parse::<f64>().ok()).sum()
}

fn pss(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1_024)
}

/// What the kernel holds for sockets of the whole machine, in octets.
pub fn kernel_sockets() -> u64 {
    let stat = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = stat.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages: u64 = tcp.rsplit(' ').next().unwrap().parse().unwrap();
    pages * 4_096
}
