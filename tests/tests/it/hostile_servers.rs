//! Servers that lie (A15): the client answers with an error, writes nothing outside of
//! its target, and leaves nothing half behind.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use artifactd_client::{Client, Error};
use artifactd_tests::{
    command::Ctl,
    content::content,
    impostor::{Asked, End, Goods, Impostor, Reply, frame},
    pb::{
        self, ContentChunk, ReadContentResponse, ReadMembersResponse, read_content_response::Message as Content,
        read_members_response::Message as Piece,
    },
};
use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;

/// Everything below a folder.
fn everything(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path.clone());
            }
            found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// A client of a server that lies, and a folder deep in another one, which must stay as it is.
struct Victim {
    client: Client,
    _server: Impostor,
    around: TempDir,
}

impl Victim {
    async fn of(answering: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let server = Impostor::start(answering).await;
        let around = tempfile::tempdir().unwrap();
        fs::create_dir_all(around.path().join("a/b/down")).unwrap();
        fs::write(around.path().join("a/canary"), b"sings").unwrap();
        let client = Client::builder(server.url())
            .cache_folder(around.path().join("a/b/cache"))
            .idle_timeout(Duration::from_millis(300))
            .call_timeout(Duration::from_secs(2))
            .tries_max(2)
            .connect();
        Self {
            client: client.await.unwrap(),
            _server: server,
            around,
        }
    }

    /// Downloads and caches `x`, which must both fail and leave nothing.
    async fn assert_refuses(&self, what: &str) -> Vec<Error> {
        let target = self.around.path().join("a/b/down/target");
        let limit = Duration::from_secs(30);
        let down = tokio::time::timeout(limit, self.client.download("x", &target)).await;
        let down = down.unwrap_or_else(|_| panic!("{what}: the download hangs"));
        let cached = tokio::time::timeout(limit, self.client.cache("x")).await;
        let cached = cached.unwrap_or_else(|_| panic!("{what}: the cache hangs"));
        let errors = vec![
            down.expect_err(what),
            cached.map(|copy| copy.path().to_owned()).expect_err(what),
        ];
        let found = everything(self.around.path());
        let elsewhere: Vec<_> = found.iter().filter(|path| !path.starts_with("a/b/cache/")).collect();
        let expected = ["a", "a/b", "a/b/cache", "a/b/down", "a/canary"];
        assert!(
            elsewhere.iter().all(|path| expected.contains(&path.as_str())),
            "{what} left {elsewhere:?}"
        );
        let copies = found
            .iter()
            .filter(|path| path.starts_with("a/b/cache/copies/") || path.starts_with("a/b/cache/coming/"));
        assert_eq!(copies.collect::<Vec<_>>(), [""; 0], "{what}");
        assert_eq!(fs::read(self.around.path().join("a/canary")).unwrap(), b"sings");
        errors
    }
}

fn folder() -> Goods {
    Goods::folder(
        "x",
        [("a/b", content(1, 40_000)), ("c", content(2, 9)), ("d", content(3, 9))],
    )
}

fn file() -> Goods {
    Goods::file("x", content(1, 300_000))
}

/// A folder of which one thing that the server says is another.
async fn with_listing(what: &str, change: impl Fn(&mut pb::ListMembersResponse) + Send + Sync + 'static) {
    let goods = folder();
    let victim = Victim::of(move |asked| match asked.method.as_str() {
        "ListMembers" => {
            let mut page = goods.list();
            change(&mut page);
            Reply::of([page])
        }
        _ => goods.answer(asked),
    });
    victim.await.assert_refuses(what).await;
}

#[tokio::test]
async fn paths_that_lead_elsewhere_lead_nowhere() {
    let long = format!("{}/x", "n".repeat(300));
    for path in [
        "../x",
        "../../canary",
        "a/../../../canary",
        "/etc/cron.d/x",
        "//x",
        "a//x",
        "./x",
        "a/./x",
        "",
        "/",
        "..",
        "a/..",
        "C:\\x",
        "..\\x",
        "a\\..\\x",
        "c:x",
        "x\0",
        "x\r\ny",
        "\u{202e}x",
        ".artifactd",
        "a/.ARTIFACTD/x",
        ".lamindb/x",
        "a/",
        long.as_str(),
    ] {
        let owned = path.to_owned();
        // First in the list, so that its place in the order is no reason.
        with_listing(&format!("{path:?}"), move |page| {
            page.members[0].path.clone_from(&owned);
        })
        .await;
    }
}

#[tokio::test]
async fn lists_that_are_not_what_the_record_says_are_refused() {
    with_listing("a path twice", |page| page.members[1] = page.members[0].clone()).await;
    with_listing("paths in another order", |page| page.members.swap(0, 1)).await;
    with_listing("a file below a file", |page| {
        page.members[0].path = "c/x".to_owned();
        page.members.swap(0, 1);
    })
    .await;
    with_listing("a name in another case, then the same", |page| {
        page.members[0].path = "C".to_owned();
    })
    .await;
    with_listing("a file less", |page| {
        page.members.pop();
    })
    .await;
    with_listing("a file more", |page| {
        page.members.push(pb::Member {
            path: "e".to_owned(),
            ..page.members[2].clone()
        });
    })
    .await;
    with_listing("another size", |page| page.members[1].size = 8).await;
    with_listing("a size below nothing", |page| page.members[1].size = -1).await;
    with_listing("the largest size", |page| page.members[1].size = i64::MAX).await;
    with_listing("another digest", |page| page.members[1].sha256 = "0".repeat(64)).await;
    with_listing("no digest", |page| page.members[1].sha256 = "../x".to_owned()).await;
    with_listing("nothing", |page| page.members.clear()).await;
    with_listing("no end", |page| page.next_page_token = "more".to_owned()).await;
    with_listing("nothing and no end", |page| {
        page.members.clear();
        page.next_page_token = "more".to_owned();
    })
    .await;
}

#[tokio::test]
async fn a_list_without_an_end_is_left_early() {
    let goods = folder();
    let listed = AtomicU64::new(0);
    let victim = Victim::of(move |asked| match asked.method.as_str() {
        "ListMembers" => {
            let first = listed.fetch_add(1_000, Ordering::Relaxed);
            assert!(first < 10_000, "it was left late");
            let members = (first..first + 1_000).map(|number| pb::Member {
                path: format!("{number:09}"),
                ..goods.files[1].0.clone()
            });
            Reply::of([pb::ListMembersResponse {
                members: members.collect(),
                next_page_token: first.to_string(),
                uid: goods.artifact.uid.clone(),
            }])
        }
        _ => goods.answer(asked),
    });
    victim.await.assert_refuses("ten million files").await;
}

/// A folder whose files come otherwise than they were listed.
async fn with_pieces(what: &str, change: impl Fn(&mut Vec<ReadMembersResponse>) + Send + Sync + 'static) {
    let goods = folder();
    let victim = Victim::of(move |asked| match asked.method.as_str() {
        "ReadMembers" => {
            let mut messages = goods.members(&asked.message());
            change(&mut messages);
            Reply::of(messages)
        }
        _ => goods.answer(asked),
    });
    victim.await.assert_refuses(what).await;
}

fn begin(message: &mut ReadMembersResponse) -> &mut pb::MemberBegin {
    match &mut message.message {
        Some(Piece::Begin(begin)) => begin,
        Some(Piece::Small(small)) => small.members[0].begin.as_mut().unwrap(),
        other => panic!("{other:?} begins no file"),
    }
}

fn member(message: &mut ReadMembersResponse) -> &mut pb::Member {
    begin(message).member.as_mut().unwrap()
}

fn small(message: &mut ReadMembersResponse) -> &mut pb::SmallMember {
    match &mut message.message {
        Some(Piece::Small(small)) => &mut small.members[0],
        other => panic!("{other:?} is not small"),
    }
}

#[tokio::test]
async fn files_that_are_not_those_that_were_asked_for_are_refused() {
    // Head, the beginning of a/b, its chunk, c, d.
    with_pieces("a path elsewhere", |messages| {
        member(&mut messages[1]).path = "../../canary".to_owned();
    })
    .await;
    with_pieces("the path of another file", |messages| {
        member(&mut messages[1]).path = "c".to_owned()
    })
    .await;
    with_pieces("another order", |messages| messages.swap(3, 4)).await;
    with_pieces("a file twice", |messages| messages.insert(3, messages[3].clone())).await;
    with_pieces("another number", |messages| begin(&mut messages[3]).number = 7).await;
    with_pieces("another size", |messages| member(&mut messages[1]).size = 40_001).await;
    with_pieces("a shorter range", |messages| begin(&mut messages[1]).length = 5).await;
    with_pieces("a later range", |messages| begin(&mut messages[3]).offset = 1).await;
    with_pieces("a range without an end", |messages| {
        begin(&mut messages[3]).length = i64::MAX
    })
    .await;
    with_pieces("a range below nothing", |messages| begin(&mut messages[3]).offset = -1).await;
    with_pieces("no such file", |messages| begin(&mut messages[3]).member = None).await;
    with_pieces("other bytes", |messages| {
        let changed = small(&mut messages[3]);
        changed.content = Bytes::from_static(b"otherwise");
        changed.crc32c = artifactd_client::domain::crc32c(b"otherwise");
    })
    .await;
    with_pieces("bytes that fail their sum", |messages| {
        small(&mut messages[3]).content = Bytes::from_static(b"otherwise");
    })
    .await;
    with_pieces("more bytes", |messages| messages.insert(3, messages[2].clone())).await;
    with_pieces("a chunk of no file", |messages| messages.swap(1, 2)).await;
    with_pieces("a head twice", |messages| messages.insert(3, messages[0].clone())).await;
    with_pieces("no head", |messages| {
        messages.remove(0);
    })
    .await;
    with_pieces("an early end", |messages| messages.truncate(3)).await;
    with_pieces("nothing", Vec::clear).await;
}

/// A file that comes otherwise than its record says.
async fn with_content(what: &str, change: impl Fn(&mut Vec<ReadContentResponse>) + Send + Sync + 'static) {
    let goods = file();
    let victim = Victim::of(move |asked| match asked.method.as_str() {
        "ReadContent" => {
            let mut messages = goods.content(&asked.message());
            change(&mut messages);
            Reply::of(messages)
        }
        _ => goods.answer(asked),
    });
    victim.await.assert_refuses(what).await;
}

fn chunk(message: &mut ReadContentResponse) -> &mut ContentChunk {
    match &mut message.message {
        Some(Content::Chunk(chunk)) => chunk,
        other => panic!("{other:?} is no chunk"),
    }
}

fn head(message: &mut ReadContentResponse) -> &mut pb::ContentHead {
    match &mut message.message {
        Some(Content::Head(head)) => head,
        other => panic!("{other:?} is no head"),
    }
}

#[tokio::test]
async fn content_that_is_not_what_the_record_says_is_refused() {
    with_content("short, and well", |messages| messages.truncate(3)).await;
    with_content("none, and well", |messages| messages.truncate(1)).await;
    with_content("more than was announced", |messages| messages.push(messages[1].clone())).await;
    with_content("other bytes", |messages| {
        let changed = chunk(&mut messages[1]);
        let bytes = vec![7; changed.data.len()];
        changed.crc32c = Some(artifactd_client::domain::crc32c(&bytes));
        changed.data = bytes.into();
    })
    .await;
    with_content("other bytes without a sum", |messages| {
        let changed = chunk(&mut messages[1]);
        changed.data = vec![7; changed.data.len()].into();
        changed.crc32c = None;
    })
    .await;
    with_content("a chunk that fails its sum", |messages| {
        chunk(&mut messages[1]).crc32c = Some(1);
    })
    .await;
    with_content("a chunk twice", |messages| messages.insert(2, messages[1].clone())).await;
    with_content("chunks in another order", |messages| messages.swap(1, 2)).await;
    with_content("another digest", |messages| {
        head(&mut messages[0]).artifact.as_mut().unwrap().hash = "0".repeat(64);
    })
    .await;
    with_content("a longer range", |messages| head(&mut messages[0]).length = i64::MAX).await;
    with_content("a range below nothing", |messages| head(&mut messages[0]).length = -1).await;
    with_content("a later range", |messages| head(&mut messages[0]).offset = 1).await;
    with_content("a uid that is none", |messages| {
        head(&mut messages[0]).artifact.as_mut().unwrap().uid = "../../../../canary".to_owned();
    })
    .await;
    with_content("no head", |messages| {
        messages.remove(0);
    })
    .await;
}

#[tokio::test]
async fn sizes_that_nobody_can_keep_are_refused() {
    for size in [i64::MAX, i64::MAX - 1, 1 << 62] {
        let mut goods = file();
        goods.artifact.size = size;
        let length = size.min(32 << 20);
        let victim = Victim::of(move |asked| match asked.method.as_str() {
            "ReadContent" => {
                let mut messages = goods.content(&asked.message());
                head(&mut messages[0]).length = length;
                Reply::of(messages)
            }
            _ => goods.answer(asked),
        });
        victim.await.assert_refuses(&format!("{size} bytes")).await;
    }
}

#[tokio::test]
async fn answers_without_an_end_are_left() {
    let empty_chunk = ReadContentResponse {
        message: Some(Content::Chunk(ContentChunk::default())),
    };
    let endless = [
        (
            "bytes for ever",
            frame(&file().content(&pb::ReadContentRequest::default())[1].encode_to_vec()),
        ),
        ("nothing for ever", frame(&empty_chunk.encode_to_vec())),
        ("half a message for ever", Bytes::from_static(&[0; 4096])),
    ];
    for (what, frame) in endless {
        let goods = file();
        let victim = Victim::of(move |asked| match asked.method.as_str() {
            "ReadContent" => {
                let head = goods.content(&asked.message()).swap_remove(0);
                Reply::of([head]).ending(End::Forever(frame.clone()))
            }
            _ => goods.answer(asked),
        });
        victim.await.assert_refuses(what).await;
    }
    for method in ["GetArtifact", "ReadContent", "ReadMembers", "ListMembers"] {
        for is_folder in [false, true] {
            let goods = if is_folder { folder() } else { file() };
            let is_asked = match is_folder {
                // What a folder's content is asked for is refused before.
                true => method != "ReadContent",
                false => !method.contains("Members"),
            };
            if !is_asked {
                continue;
            }
            let victim = Victim::of(move |asked| match asked.method == method {
                true => Reply::raw(Bytes::new()).ending(End::Silence),
                false => goods.answer(asked),
            });
            let client = &victim.await;
            if method != "GetArtifact" || is_folder {
                client.assert_refuses(&format!("{method} is never answered")).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_at_all_is_refused() {
    let nonsense: [(&str, Bytes); 5] = [
        ("no message", Bytes::new()),
        ("garbage", frame(&[0xff; 100])),
        ("the beginning of a message", Bytes::from_static(&[0, 0, 0, 0, 9, 1])),
        (
            "a message of 4 GiB",
            Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]),
        ),
        ("a compressed message", Bytes::from_static(&[1, 0, 0, 0, 1, 1])),
    ];
    for (what, bytes) in nonsense {
        let victim = Victim::of(move |_| Reply::raw(bytes.clone())).await;
        victim.assert_refuses(what).await;
    }
    let victim = Victim::of(|_| Reply::raw(frame(&vec![0; 64 << 20]))).await;
    victim.assert_refuses("a message of 64 MiB").await;
}

#[tokio::test]
async fn names_in_a_record_name_no_place() {
    type Name = fn(&mut pb::Artifact, String);
    let names: [(&str, Name); 3] = [
        ("key", |artifact, name| artifact.key = Some(name)),
        ("file name", |artifact, name| {
            artifact.key = None;
            artifact.file_name = Some(name);
        }),
        ("suffix", |artifact, name| {
            artifact.key = None;
            artifact.suffix = format!("/{name}");
        }),
    ];
    for (what, set) in names {
        for name in [
            "../../../canary",
            "/etc/passwd",
            "..",
            ".",
            "a/../..",
            "x\0",
            ".artifactd",
            "a\\b",
            "",
        ] {
            let mut goods = file();
            set(&mut goods.artifact, name.to_owned());
            let victim = Victim::of(move |asked| goods.answer(asked)).await;
            let refused = victim.client.cache("x").await;
            assert!(matches!(refused, Err(Error::Answer(_))), "{what} {name:?}: {refused:?}");
            assert!(!victim.around.path().join("a/b/cache/copies").exists());
            // Where the caller names the place, the record names none.
            let target = victim.around.path().join("a/b/down/target");
            victim.client.download("x", &target).await.unwrap();
            assert_eq!(
                everything(&victim.around.path().join("a/b/down")),
                ["target"],
                "{what} {name:?}"
            );
        }
    }
    for change in [
        |artifact: &mut pb::Artifact| artifact.uid = "../../../../x".to_owned(),
        |artifact: &mut pb::Artifact| artifact.hash = "../../../../x".to_owned(),
        |artifact: &mut pb::Artifact| artifact.size = -5,
        |artifact: &mut pb::Artifact| artifact.n_objects = Some(-5),
        |artifact: &mut pb::Artifact| artifact.created_at = None,
    ] {
        let mut goods = file();
        change(&mut goods.artifact);
        let victim = Victim::of(move |asked| goods.answer(asked)).await;
        victim.assert_refuses("an impossible record").await;
    }
}

#[tokio::test]
async fn a_cached_copy_is_not_believed_to_be_what_another_record_says() {
    let honest = file();
    let mut lying = honest.clone();
    lying.artifact.key = Some("x/other".to_owned());
    let asked = AtomicU64::new(0);
    let victim = Victim::of(move |call| match asked.fetch_add(1, Ordering::Relaxed) {
        0..2 => honest.answer(call),
        _ => lying.answer(call),
    });
    let victim = victim.await;
    let first = victim.client.cache("x").await.unwrap();
    let second = victim.client.cache("x").await.unwrap();
    assert!(first.path().ends_with("x") && second.path().ends_with("other"));
    assert!(fs::read(&second).unwrap() == content(1, 300_000));
    // The first one may have made room for it, but is nothing else now.
    match fs::read(&first) {
        Ok(bytes) => assert!(bytes == content(1, 300_000)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_writes_no_name_that_a_server_made_up() {
    for (key, file_name) in [
        (Some("../../canary"), None),
        (Some("/etc/passwd"), None),
        (Some("a/.."), None),
        (None, Some("../canary")),
    ] {
        let mut goods = file();
        goods.artifact.key = key.map(str::to_owned);
        goods.artifact.file_name = file_name.map(str::to_owned);
        let uid = goods.artifact.uid.clone();
        let server = Impostor::start(move |asked| goods.answer(asked)).await;
        let ctl = Ctl::of(server.url());
        ctl.run(&["get", &uid]).failed(1);
        assert_eq!(everything(ctl.home()), [""; 0]);
        // What the user asked for is how it is called, whatever the server calls it.
        ctl.run(&["get", "tables/mine.csv"]).ok();
        assert_eq!(everything(ctl.home()), ["mine.csv"]);
    }
    let mut goods = folder();
    goods.files[0].0.path = "../../canary".to_owned();
    let server = Impostor::start(move |asked| goods.answer(asked)).await;
    let ctl = Ctl::of(server.url());
    ctl.run(&["get", "x", "down"]).failed(1);
    ctl.run(&["ls", "-m", "x"]).failed(1);
    assert_eq!(everything(ctl.home()), [""; 0]);
}
