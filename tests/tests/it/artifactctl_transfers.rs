//! Transfers of the command line that are stopped, killed or cut.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use artifactd_tests::{
    TestServer,
    command::{Ctl, Running},
    content::content,
    proxy::{Line, Proxy},
};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 120 * MIB;

/// A server behind a line that a test stops in the middle of a transfer.
struct Setting {
    server: TestServer,
    proxy: Proxy,
    ctl: Ctl,
}

impl Setting {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let proxy = Proxy::start(server.address()).await;
        let ctl = Ctl::of(proxy.through(&server.url()));
        Self { server, proxy, ctl }
    }

    /// Starts a command and stalls the line when enough has travelled.
    async fn stalled_at(&self, arguments: &[&str], travelled: impl Fn() -> u64, enough: u64) -> Running {
        let mut running = self.ctl.start(arguments);
        while travelled() < enough {
            assert!(!running.has_ended(), "it was faster than its end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.proxy.set(Line::Stalled);
        // What is on its way is acknowledged or written.
        tokio::time::sleep(Duration::from_millis(300)).await;
        running
    }
}

fn parts(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".part")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_stopped_or_killed_goes_on_where_it_was() {
    let setting = Setting::new().await;
    let bytes = content(1, SIZE as usize);
    let file = setting.ctl.home().join("x.bin");
    fs::write(&file, &bytes).unwrap();
    for (signal, enough) in [(Signal::INT, 40 * MIB), (Signal::KILL, 40 * MIB)] {
        let before = setting.proxy.sent_bytes();
        let travelled = || setting.proxy.sent_bytes() - before;
        let running = setting.stalled_at(&["put", "x.bin"], travelled, enough).await;
        running.signal(signal);
        let ran = running.wait();
        if signal == Signal::INT {
            assert_eq!(ran.code, 130);
            assert!(ran.stderr.contains("goes on where it was"), "{}", ran.stderr);
        }
        setting.proxy.cut();
        setting.proxy.set(Line::Open);
        let status = setting.ctl.run(&["status"]).ok();
        assert!(status.contains("upload   ") && status.contains("begun    "), "{status}");
    }
    let before = setting.proxy.sent_bytes();
    setting.ctl.run(&["put", "x.bin"]).ok();
    let sent = setting.proxy.sent_bytes() - before;
    assert!(sent < SIZE - 30 * MIB, "{sent} bytes travelled again");
    assert!(setting.server.client().await.read("x.bin").await.unwrap() == bytes);
    let status = setting.ctl.run(&["status"]).ok();
    assert_eq!(status.lines().count(), 3, "{status}");

    // Another content under the same name is another upload, and an old one comes back.
    let other = content(2, SIZE as usize);
    for bytes in [&other, &bytes] {
        fs::write(&file, bytes).unwrap();
        setting.ctl.run(&["put", "x.bin"]).ok();
        assert!(setting.server.client().await.read("x.bin").await.unwrap() == *bytes);
    }
    assert_eq!(setting.server.client().await.versions("x.bin").await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_was_stopped_or_killed_goes_on_where_it_was() {
    let setting = Setting::new().await;
    let bytes = content(1, SIZE as usize);
    setting
        .server
        .client()
        .await
        .save(bytes.clone(), "x.bin")
        .await
        .unwrap();
    let home = setting.ctl.home();
    for signal in [Signal::INT, Signal::KILL] {
        let before = setting.proxy.received_bytes();
        let travelled = || setting.proxy.received_bytes() - before;
        let running = setting.stalled_at(&["get", "x.bin"], travelled, 40 * MIB).await;
        running.signal(signal);
        let ran = running.wait();
        if signal == Signal::INT {
            assert_eq!(ran.code, 130);
            assert!(ran.stderr.contains("goes on where it was"), "{}", ran.stderr);
        }
        assert_eq!(parts(home).len(), 1);
        assert!(!home.join("x.bin").exists());
        setting.proxy.cut();
        setting.proxy.set(Line::Open);
    }
    let written = fs::metadata(home.join(&parts(home)[0])).unwrap().blocks() * 512;
    let before = setting.proxy.received_bytes();
    setting.ctl.run(&["get", "x.bin"]).ok();
    let received = setting.proxy.received_bytes() - before;
    assert!(
        received < SIZE - 40 * MIB,
        "{received} bytes travelled, {written} were there"
    );
    assert!(fs::read(home.join("x.bin")).unwrap() == bytes);
    assert_eq!(parts(home), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_are_overcome_in_pipes_too() {
    let setting = Setting::new().await;
    let bytes = content(1, (60 * MIB) as usize);
    let proxy = &setting.proxy;
    let cutting = async |travelled: &dyn Fn() -> u64, running: &mut Running| {
        for enough in [10 * MIB, 30 * MIB] {
            while travelled() < enough && !running.has_ended() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.cut();
        }
    };
    let mut command = setting.ctl.command(&["put", "-", "x.bin"]);
    let file = setting.ctl.home().join("input");
    fs::write(&file, &bytes).unwrap();
    command.stdin(fs::File::open(&file).unwrap());
    let mut running = Running::of(command);
    cutting(&|| proxy.sent_bytes(), &mut running).await;
    running.wait().ok();
    assert!(setting.server.client().await.read("x.bin").await.unwrap() == bytes);

    let down = setting.ctl.home().join("output");
    let mut command = setting.ctl.command(&["cat", "x.bin"]);
    command.stdout(fs::File::create(&down).unwrap());
    let before = proxy.received_bytes();
    let mut running = Running::of(command);
    cutting(&|| proxy.received_bytes() - before, &mut running).await;
    running.wait().ok();
    assert!(fs::read(&down).unwrap() == bytes);
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_and_what_came_is_kept() {
    let server = TestServer::start().await;
    let bytes = content(1, (40 * MIB) as usize);
    server.client().await.save(bytes.clone(), "x.bin").await.unwrap();
    let ctl = Ctl::of(server.url());
    let command = ctl.command(&["get", "x.bin"]);
    let mut limited = std::process::Command::new("prlimit");
    limited
        .arg(format!("--fsize={}", 20 * MIB))
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(ctl.home());
    let output = limited.output().unwrap();
    // The system kills who writes too much, unless it has asked not to be.
    assert!(output.status.code().is_none_or(|code| code == 8), "{output:?}");
    assert!(!ctl.home().join("x.bin").exists());
    ctl.run(&["get", "x.bin"]).ok();
    assert!(fs::read(ctl.home().join("x.bin")).unwrap() == bytes);
    assert_eq!(parts(ctl.home()), [""; 0]);
}
