//! The peer that only sends: nginx with `sendfile`, read by curl into nothing.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running nginx.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// Serves the files of `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        let binary = std::env::var_os("ARTIFACTD_BENCH_NGINX").expect("start the benchmark with tests/bench/run");
        let port = free_port();
        let settings = folder.join("nginx.conf");
        std::fs::write(&settings, configuration(folder, port)).expect("write nginx's settings");
        let child = Command::new(binary)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&settings)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .expect("start nginx");
        let mut nginx = Self { child, port };
        nginx.wait_until_it_listens().await;
        nginx
    }

    async fn wait_until_it_listens(&mut self) {
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let ended = self.child.try_wait().expect("look after nginx");
            assert!(ended.is_none(), "nginx ended while it started: {ended:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How long curl takes for a file, from the start of the transfer on.
    pub(crate) async fn download(&self, name: &str, bytes: u64) -> Duration {
        let done = tokio::process::Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--noproxy",
                "*",
                "--output",
                "/dev/null",
            ])
            .args(["--write-out", "%{time_total} %{size_download}"])
            .arg(format!("http://127.0.0.1:{}/{name}", self.port))
            .output()
            .await
            .expect("run curl");
        assert!(
            done.status.success(),
            "curl failed: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let answer = String::from_utf8_lossy(&done.stdout);
        let (seconds, size) = answer.split_once(' ').expect("curl prints what it was asked for");
        assert_eq!(size.parse(), Ok(bytes), "curl got another size");
        Duration::from_secs_f64(seconds.parse().expect("curl prints its seconds"))
    }
}

impl Drop for Nginx {
    /// The master ends its worker on SIGTERM; it could not if it was killed.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: nginx does not tell which one it took.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    listener.local_addr().expect("it has an address").port()
}

/// Everything that nginx would write goes into the folder. A worker of root would
/// run as `nobody`, who may not read there.
fn configuration(folder: &Path, port: u16) -> String {
    let user = if rustix::process::getuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let folder = folder.display();
    format!(
        "{user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
         events {{}}
         http {{
             access_log off; sendfile on; tcp_nopush on;
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
             fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
             server {{ listen 127.0.0.1:{port}; root {folder}; }}
         }}"
    )
}
