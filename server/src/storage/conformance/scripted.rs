//! Answers that services give and those of our tests do not: lists in pages, and refusals.

use std::sync::{Arc, Mutex};

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{
    MIB, PartedObject, Service, StorageError, Store, content, fresh_name, lossy::read_request, servers::root_at, write,
};

const PREFIX: &str = "a/prefix";

/// A service that answers each request as it is told, and keeps what it was asked.
struct Scripted {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// It answers a status and a body for the first line of a request.
    async fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                tokio::spawn(async move {
                    let (head, _) = read_request(&mut client).await?;
                    let (status, body) = answer(head.lines().next().unwrap_or_default());
                    kept.lock().unwrap().push(head);
                    let length = body.len();
                    let told =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                    client.write_all(told.as_bytes()).await
                });
            }
        });
        Self { endpoint, asked }
    }

    fn store(&self, service: Service) -> Store {
        // Of the servers that are not Azure's own, a path names the account.
        let endpoint = match service {
            Service::Azure => format!("{}/devstoreaccount1", self.endpoint),
            Service::S3 | Service::Google => self.endpoint.clone(),
        };
        Store::open(&root_at(&endpoint, service, PREFIX)).unwrap()
    }

    /// How each request showed who asks; nothing for one that did not.
    fn logins(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let login = |head: &String| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            let field = fields.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            field.map(|(_, login)| login.trim().to_owned()).unwrap_or_default()
        };
        asked.iter().map(login).collect()
    }
}

/// A page of what was begun: one object, and whether more come.
fn begun(service: Service, path: &str, id: &str, more: bool) -> String {
    match service {
        Service::S3 | Service::Google => format!(
            "<ListMultipartUploadsResult><NextKeyMarker>{path}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>\
             <IsTruncated>{more}</IsTruncated><Upload><Key>{path}</Key><UploadId>{id}</UploadId></Upload>\
             </ListMultipartUploadsResult>"
        ),
        Service::Azure => format!(
            "<EnumerationResults><Blobs><Blob><Name>{path}</Name><Properties><Content-Length>0</Content-Length>\
             </Properties></Blob></Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
            if more { id } else { "" }
        ),
    }
}

#[tokio::test]
async fn what_was_begun_is_listed_over_all_pages_to_who_says_who_they_are() {
    for (service, login) in [
        (Service::S3, "AWS4-HMAC-SHA256 "),
        (Service::Azure, "SharedKey "),
        (Service::Google, "Bearer"),
    ] {
        let names = [fresh_name(), fresh_name()];
        let paths = names.clone().map(|name| format!("{PREFIX}/{}", name.path()));
        let scripted = Scripted::start(move |line| match line.contains("marker=") {
            false => (200, begun(service, &paths[0], "first", true)),
            true if line.contains("marker=first") || line.contains("upload-id-marker=first") => {
                (200, begun(service, &paths[1], "second", false))
            }
            true => (400, String::new()),
        });
        let scripted = scripted.await;
        let listed = scripted.store(service).writer.list_unfinished().await.unwrap();
        let listed: Vec<String> = listed.into_iter().map(|unfinished| unfinished.name).collect();
        assert_eq!(listed, names.map(|name| name.to_string()), "{service:?}");
        let logins = scripted.logins();
        assert_eq!(logins.len(), 2, "{service:?}");
        assert!(logins.iter().all(|shown| shown.starts_with(login)), "{logins:?}");
    }
}

#[tokio::test]
async fn parts_are_looked_for_on_all_pages() {
    let page = |number: usize, more: bool| {
        format!(
            "<ListPartsResult><NextPartNumberMarker>{number}</NextPartNumberMarker><IsTruncated>{more}</IsTruncated>\
             <Part><PartNumber>{number}</PartNumber><ETag>\"part{number}\"</ETag></Part></ListPartsResult>"
        )
    };
    for service in [Service::S3, Service::Google] {
        let scripted = Scripted::start(move |line| match line.contains("part-number-marker=1&") {
            false => (200, page(1, true)),
            true => (200, page(2, false)),
        });
        let store = scripted.await.store(service);
        let object = PartedObject {
            name: fresh_name(),
            store_upload_id: Some("id".to_owned()),
        };
        let closed = store.parts.close(&object, 2).await.unwrap();
        let parts = |second: &str| ["part1".to_owned(), second.to_owned()];
        assert!(
            closed.replaced(&parts("part2")).await.unwrap().is_empty(),
            "{service:?}"
        );
        assert_eq!(closed.replaced(&parts("other")).await.unwrap(), [1], "{service:?}");
    }
}

#[tokio::test]
async fn who_may_not_write_hears_that_and_not_that_the_service_is_away() {
    const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    for service in Service::ALL {
        for status in [401, 403] {
            let scripted = Scripted::start(move |_| (status, DENIED.to_owned())).await;
            let store = scripted.store(service);
            // In one request, and in parts.
            for size in [1, 9 * MIB] {
                let written = write(&store, &fresh_name(), &content(size), MIB).await;
                let is_told = matches!(written, Err(StorageError::ReadOnly(_)));
                assert!(is_told, "{service:?}, {status}, {size} bytes: {written:?}");
            }
        }
    }
}
