//! A server that need not keep to any promise, for what clients must not believe.
//!
//! It speaks just enough gRPC: each call is answered by what a test says. [`Goods`]
//! gives the honest answers, which a test then changes.

use std::{
    future::poll_fn,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use artifactd_domain::{
    Sha256, crc32c,
    manifest::{Member, Paging},
};
use artifactd_proto::v1 as pb;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Bytes of the chunks in which goods are sent.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes of the files that are sent many in a message.
const SMALL_BYTES_END: usize = 16 << 10;

/// A call that came in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Name of the method.
    pub method: String,
    /// Its head.
    pub headers: HeaderMap,
    message: Bytes,
}

impl Asked {
    /// Its first message.
    ///
    /// # Panics
    /// When it is another one.
    pub fn message<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).expect("the message of this method")
    }

    /// A text in its head.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

/// How an answer ends.
#[derive(Debug, Clone)]
pub enum End {
    /// Well.
    Ok,
    /// With a status: its code and details.
    Status(i32, Bytes),
    /// Never; nothing more comes.
    Silence,
    /// Never; this comes again and again.
    Forever(Bytes),
    /// With the connection.
    Cut,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    frames: Vec<Bytes>,
    end: End,
}

impl Reply {
    /// Some messages, and a good end.
    pub fn of(messages: impl IntoIterator<Item = impl Message>) -> Self {
        Self {
            frames: messages
                .into_iter()
                .map(|message| frame(&message.encode_to_vec()))
                .collect(),
            end: End::Ok,
        }
    }

    /// Nothing but a status.
    pub fn status(code: i32) -> Self {
        Self {
            frames: Vec::new(),
            end: End::Status(code, Bytes::new()),
        }
    }

    /// Bytes that may be no message.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self {
            frames: vec![bytes.into()],
            end: End::Ok,
        }
    }

    /// The same with another end.
    pub fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }
}

/// A message as it travels.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

type Answering = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server that answers what a test says. It ends when it is dropped.
pub struct Impostor {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Impostor {
    /// Starts one.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(answering: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let answering: Arc<Answering> = Arc::new(answering);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answering), Arc::clone(&noted)));
            }
        });
        Self { url, asked, accepting }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The calls that came in since this was asked last.
    ///
    /// # Panics
    /// Never: no holder of the lock does.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("no holder panics"))
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, answering: Arc<Answering>, asked: Arc<Mutex<Vec<Asked>>>) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let (cut, mut cuts) = tokio::sync::mpsc::channel(1);
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            _ = cuts.recv() => return,
        };
        let Some(Ok((request, respond))) = next else {
            return;
        };
        let (answering, asked, cut) = (Arc::clone(&answering), Arc::clone(&asked), cut.clone());
        tokio::spawn(async move {
            // Whoever went away needs no answer.
            if let Ok(true) = answer(request, respond, &answering, &asked).await {
                let _ = cut.send(()).await;
            }
        });
    }
}

/// Answers a call; true when its connection is to be cut.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answering: &Arc<Answering>,
    asked: &Arc<Mutex<Vec<Asked>>>,
) -> Result<bool, h2::Error> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let (head, mut body) = request.into_parts();
    let mut received = BytesMut::new();
    // Of a stream the first message is enough.
    while received.len() < 5 || received.len() < 5 + (&received[1..5]).get_u32() as usize {
        let Some(data) = body.data().await else {
            break;
        };
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        received.extend_from_slice(&data);
    }
    let call = Asked {
        method,
        headers: head.headers,
        message: received.freeze().slice(5..),
    };
    let reply = answering(&call);
    asked.lock().expect("no holder panics").push(call);
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(response, false)?;
    for frame in reply.frames {
        send(&mut stream, frame).await?;
    }
    match reply.end {
        End::Ok => stream.send_trailers(trailers(0, &Bytes::new()))?,
        End::Status(code, details) => stream.send_trailers(trailers(code, &details))?,
        End::Forever(frame) => loop {
            send(&mut stream, frame.clone()).await?;
        },
        End::Silence => std::future::pending().await,
        End::Cut => return Ok(true),
    }
    Ok(false)
}

fn trailers(code: i32, details: &Bytes) -> HeaderMap {
    use base64::Engine;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    if !details.is_empty() {
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details);
        trailers.insert("grpc-status-details-bin", text.parse().expect("base64 is visible"));
    }
    trailers
}

async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(h2::Reason::CANCEL.into());
        };
        stream.send_data(data.split_to(room?.min(data.len())), false)?;
    }
    Ok(())
}

/// One artifact with all of its content, and the honest answers about it.
#[derive(Debug, Clone)]
pub struct Goods {
    /// Its record.
    pub artifact: pb::Artifact,
    /// Its files, in order; of a file one without a path.
    pub files: Vec<(pb::Member, Bytes)>,
}

impl Goods {
    /// A file.
    pub fn file(key: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let mut artifact = record(key);
        artifact.size = content.len() as i64;
        artifact.hash = Sha256::of(&content).to_string();
        artifact.hash_type = pb::HashType::Sha256.into();
        Self {
            artifact,
            files: vec![(member("", &content), content)],
        }
    }

    /// A folder of files, whose paths are in order.
    ///
    /// # Panics
    /// When they make no folder.
    pub fn folder<'a>(key: &str, files: impl IntoIterator<Item = (&'a str, Bytes)>) -> Self {
        let mut paging = Paging::new();
        let files = files.into_iter().map(|(path, content)| {
            let pushed = paging.push(Member {
                path: path.parse().expect("a path"),
                size_bytes: content.len() as u64,
                sha256: Sha256::of(&content),
            });
            pushed.expect("files in order");
            (member(path, &content), content)
        });
        let files: Vec<_> = files.collect();
        let digest = paging.finish().expect("a folder").1;
        let mut artifact = record(key);
        artifact.size = digest.size_bytes as i64;
        artifact.hash = digest.sha256.to_string();
        artifact.hash_type = pb::HashType::Sha256Manifest.into();
        artifact.n_objects = Some(digest.n_objects as i64);
        Self { artifact, files }
    }

    /// The honest answer to a call.
    pub fn answer(&self, asked: &Asked) -> Reply {
        match asked.method.as_str() {
            "GetArtifact" => Reply::of([self.artifact.clone()]),
            "ListMembers" => Reply::of([self.list()]),
            "ReadContent" if self.artifact.n_objects.is_some() && asked_member(asked).is_none() => is_folder(),
            "ReadContent" => Reply::of(self.content(&asked.message())),
            "ReadMembers" => Reply::of(self.members(&asked.message())),
            _ => Reply::status(12),
        }
    }

    /// All files on one page.
    pub fn list(&self) -> pb::ListMembersResponse {
        pb::ListMembersResponse {
            members: self.files.iter().map(|(member, _)| member.clone()).collect(),
            next_page_token: String::new(),
            uid: self.artifact.uid.clone(),
        }
    }

    /// The messages of a read.
    ///
    /// # Panics
    /// When a file is asked for that is not there.
    pub fn content(&self, asked: &pb::ReadContentRequest) -> Vec<pb::ReadContentResponse> {
        use pb::read_content_response::Message;
        let path = asked.member.as_deref().unwrap_or_default();
        let (member, content) = self
            .files
            .iter()
            .find(|(member, _)| member.path == path)
            .expect("a file");
        let start = (asked.offset as usize).min(content.len());
        let length = asked.length.map_or(usize::MAX, |length| length as usize);
        let end = start.saturating_add(length).min(content.len());
        let head = Message::Head(pb::ContentHead {
            artifact: Some(self.artifact.clone()),
            offset: start as i64,
            length: (end - start) as i64,
            member: asked.member.as_ref().map(|_| member.clone()),
        });
        let chunks = chunks(content.slice(start..end), start).map(Message::Chunk);
        let messages = std::iter::once(head).chain(chunks);
        messages
            .map(|message| pb::ReadContentResponse { message: Some(message) })
            .collect()
    }

    /// The messages of a read of ranges.
    ///
    /// # Panics
    /// When a file is asked for that is not there.
    pub fn members(&self, asked: &pb::ReadMembersRequest) -> Vec<pb::ReadMembersResponse> {
        use pb::read_members_response::Message;
        let head = pb::MembersHead {
            artifact: Some(self.artifact.clone()),
        };
        let mut messages = vec![Message::Head(head)];
        for (number, range) in asked.ranges.iter().enumerate() {
            let found = self.files.iter().find(|(member, _)| member.path == range.path);
            let (member, content) = found.expect("a file");
            let begin = pb::MemberBegin {
                number: number as i64,
                member: Some(member.clone()),
                offset: range.offset,
                length: content.len() as i64 - range.offset,
            };
            let rest = content.slice(range.offset as usize..);
            if rest.len() < SMALL_BYTES_END {
                let members = vec![pb::SmallMember {
                    begin: Some(begin),
                    crc32c: crc32c(&rest),
                    content: rest,
                }];
                messages.push(Message::Small(pb::SmallMembers { members }));
                continue;
            }
            messages.push(Message::Begin(begin));
            messages.extend(chunks(rest, range.offset as usize).map(Message::Chunk));
        }
        messages
            .into_iter()
            .map(|message| pb::ReadMembersResponse { message: Some(message) })
            .collect()
    }
}

fn asked_member(asked: &Asked) -> Option<String> {
    asked.message::<pb::ReadContentRequest>().member
}

/// What a server says of a folder that is read as a file.
fn is_folder() -> Reply {
    refused(9, "ARTIFACT_IS_FOLDER")
}

/// A refusal with a reason.
///
/// # Panics
/// Never: a status can be encoded.
pub fn refused(code: i32, reason: &str) -> Reply {
    use tonic_types::{ErrorDetails, StatusExt};
    let details = ErrorDetails::with_error_info(reason, "artifactd", std::collections::HashMap::new());
    let status = tonic::Status::with_error_details(tonic::Code::from(code), reason, details);
    Reply::status(code).ending(End::Status(code, Bytes::copy_from_slice(status.details())))
}

/// A refusal that says when to come back.
///
/// # Panics
/// Never: a status can be encoded.
pub fn busy(after: std::time::Duration) -> Reply {
    use tonic_types::{ErrorDetails, StatusExt};
    let mut details = ErrorDetails::with_error_info("SERVER_BUSY", "artifactd", std::collections::HashMap::new());
    details.set_retry_info(Some(after));
    let status = tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "busy", details);
    Reply::status(8).ending(End::Status(8, Bytes::copy_from_slice(status.details())))
}

fn chunks(content: Bytes, start: usize) -> impl Iterator<Item = pb::ContentChunk> {
    (0..content.len().div_ceil(CHUNK_BYTES)).map(move |number| {
        let from = number * CHUNK_BYTES;
        let data = content.slice(from..content.len().min(from + CHUNK_BYTES));
        pb::ContentChunk {
            crc32c: Some(crc32c(&data)),
            offset: Some((start + from) as i64),
            data,
        }
    })
}

fn member(path: &str, content: &[u8]) -> pb::Member {
    pb::Member {
        path: path.to_owned(),
        size: content.len() as i64,
        sha256: Sha256::of(content).to_string(),
    }
}

fn record(key: &str) -> pb::Artifact {
    let now = Some(prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 5_000,
    });
    pb::Artifact {
        uid: "AAAABBBBCCCCDDDD0000".to_owned(),
        stem: "AAAABBBBCCCCDDDD".to_owned(),
        key: Some(key.to_owned()),
        kind: pb::ArtifactKind::Dataset.into(),
        version: "1".to_owned(),
        version_number: 1,
        is_latest: true,
        visibility: pb::Visibility::Default.into(),
        space: "default".to_owned(),
        storage: "default".to_owned(),
        key_is_virtual: true,
        created_by: "somebody".to_owned(),
        created_at: now,
        updated_at: now,
        etag: "e".to_owned(),
        content_etag: "c".to_owned(),
        id: 1,
        ..Default::default()
    }
}
