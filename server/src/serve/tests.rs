use std::{convert::Infallible, pin::Pin, time::Instant};

use ::http::{HeaderMap, Request, Response};
use bytes::{BufMut, Bytes};
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tonic::{Code, Status, body::Body, server::NamedService, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use super::*;
use crate::config::Sources;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// A service that misbehaves as its method says.
#[derive(Clone)]
struct Odd;

impl NamedService for Odd {
    const NAME: &'static str = "test.Odd";
}

impl tower::Service<Request<Body>> for Odd {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        async move { Ok(odd(&method).await) }.boxed()
    }
}

async fn odd(method: &str) -> Response<Body> {
    match method {
        "Panic" => panic!("asked to"),
        "PanicInBody" => Response::new(Body::new(PanickingBody)),
        "Slow" => {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Status::ok("").into_http()
        }
        "Silent" => {
            let never = futures::stream::pending::<Result<http_body::Frame<Bytes>, Status>>();
            Response::new(Body::new(http_body_util::StreamBody::new(never)))
        }
        _ => Status::unimplemented("").into_http(),
    }
}

struct PanickingBody;

impl http_body::Body for PanickingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        panic!("asked to")
    }
}

/// A server without a registry.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let config = config(settings);
        let listener = listen(config.server.listen).unwrap();
        let app = App {
            routes: Routes::new(Odd),
            services: vec![Odd::NAME],
            dependencies: Vec::new(),
        };
        let (tell, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let ready = |address| tell.send(address).unwrap();
            app.serve(listener, &config, ready, stopped.map(|_| ())).await.unwrap();
        });
        Self {
            address: address.await.unwrap(),
            stop: Some(stop),
            served,
        }
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        call(self.address, path, headers, body).await.unwrap()
    }

    async fn health(&self) -> HealthClient<tonic::transport::Channel> {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        HealthClient::new(endpoint.connect().await.unwrap())
    }

    /// Sends bytes as they are and reads until the server closes.
    async fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        // A reset after the answer is a way to close as well.
        let _ = read.expect("the server closes");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn config(settings: &[(&'static str, &str)]) -> Config {
    let mut flags = vec![("--listen", "server.listen", "127.0.0.1:0".to_owned())];
    flags.extend(settings.iter().map(|(name, value)| (*name, *name, (*value).to_owned())));
    let sources = Sources {
        flags,
        ..Sources::default()
    };
    Config::load(sources).unwrap()
}

/// Head and trailers of an answer, together.
struct Answer {
    http_status: u16,
    headers: HeaderMap,
}

impl Answer {
    fn status(&self) -> Status {
        Status::from_header_map(&self.headers).expect("the answer has a status")
    }

    fn request_id(&self) -> &str {
        self.headers["x-request-id"].to_str().unwrap()
    }

    /// Code and reason, after a check that the error names the call.
    fn refusal(&self) -> (Code, String) {
        let status = self.status();
        let id = status
            .get_details_request_info()
            .expect("the error names its call")
            .request_id;
        assert_eq!(id, self.request_id());
        (
            status.code(),
            status.get_details_error_info().expect("the error has a reason").reason,
        )
    }
}

/// One call over a connection of its own.
async fn call(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, h2::Error> {
    let stream = TcpStream::connect(address).await.map_err(h2::Error::from_io)?;
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, mut send) = sender.send_request(request.body(()).unwrap(), false)?;
    // The server may answer before it has the whole body.
    let _ = send.send_data(Bytes::copy_from_slice(body), true);
    let response = response.await?;
    let (parts, mut body) = response.into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let mut headers = parts.headers;
    headers.extend(body.trailers().await?.unwrap_or_default());
    connection.abort();
    Ok(Answer {
        http_status: parts.status.as_u16(),
        headers,
    })
}

trait FromIo {
    fn from_io(error: io::Error) -> Self;
}

impl FromIo for h2::Error {
    fn from_io(error: io::Error) -> Self {
        panic!("cannot connect: {error}")
    }
}

fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_the_callers_fault() {
    let server = Running::start().await;
    let malformed = refused(Code::InvalidArgument, "MESSAGE_MALFORMED");
    let messages: [&[u8]; 6] = [
        b"",
        b"x",
        &[0, 0, 0, 0, 9, 1],
        &[0, 0, 0, 0, 2, 0x0a, 0x7f],
        &[0, 0, 0, 0, 3, 0x0a, 0x01, 0xff],
        &[7, 0, 0, 0, 0],
    ];
    for message in messages {
        assert_eq!(
            server.call(CHECK, &[], message).await.refusal(),
            malformed,
            "{message:?}"
        );
    }
    assert_eq!(server.call(CHECK, &[], EMPTY_MESSAGE).await.status().code(), Code::Ok);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_by_its_prefix() {
    let server = Running::start().await;
    for size in [4 * 1024 * 1024 + 1, u32::MAX] {
        let mut message = vec![0];
        message.put_u32(size);
        message.extend_from_slice(b"begin");
        let refusal = server.call(CHECK, &[], &message).await.refusal();
        assert_eq!(refusal, refused(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    }
}

#[tokio::test]
async fn unknown_services_methods_and_encodings_are_unimplemented() {
    let server = Running::start().await;
    let unknown = refused(Code::Unimplemented, "METHOD_UNKNOWN");
    for path in [
        "/",
        "/nothing",
        "/no.Service/Method",
        "/grpc.health.v1.Health/Nothing",
        "/test.Odd/Nothing",
    ] {
        assert_eq!(server.call(path, &[], EMPTY_MESSAGE).await.refusal(), unknown, "{path}");
    }
    let packed = server.call(CHECK, &[("grpc-encoding", "lzma")], &[1, 0, 0, 0, 0]).await;
    assert_eq!(packed.refusal(), unknown);
}

#[tokio::test]
async fn a_plain_request_id_is_echoed_and_any_other_replaced() {
    let server = Running::start().await;
    let kept = server
        .call(CHECK, &[("x-request-id", "job-7.step_2")], EMPTY_MESSAGE)
        .await;
    assert_eq!(kept.request_id(), "job-7.step_2");
    let long = "x".repeat(8 * 1024);
    for forged in ["a b", "\t", "a\u{e9}", long.as_str()] {
        let answer = server.call(CHECK, &[("x-request-id", forged)], EMPTY_MESSAGE).await;
        assert_eq!(answer.request_id().len(), 32, "{forged}");
    }
}

#[tokio::test]
async fn an_error_of_the_health_service_has_a_reason_too() {
    let server = Running::start().await;
    let unknown = server.call(CHECK, &[], &[0, 0, 0, 0, 3, 0x0a, 0x01, b'x']).await;
    assert_eq!(unknown.refusal(), refused(Code::NotFound, "METHOD_UNKNOWN"));
}

#[tokio::test]
async fn too_many_headers_are_refused_and_others_go_on() {
    let server = Running::start().await;
    let value = "x".repeat(17 * 1024);
    match call(server.address, CHECK, &[("filler", &value)], EMPTY_MESSAGE).await {
        Ok(answer) => assert_eq!(answer.http_status, 431),
        Err(error) => assert!(!error.is_io(), "{error}"),
    }
    assert_eq!(server.call(CHECK, &[], EMPTY_MESSAGE).await.status().code(), Code::Ok);
}

#[tokio::test]
async fn a_deadline_bounds_the_whole_call() {
    let server = Running::start().await;
    let passed = refused(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    for (timeout, method) in [("0n", "Slow"), ("50m", "Slow"), ("50m", "Silent")] {
        let answer = server
            .call(
                &format!("/test.Odd/{method}"),
                &[("grpc-timeout", timeout)],
                EMPTY_MESSAGE,
            )
            .await;
        assert_eq!(answer.refusal(), passed, "{timeout} {method}");
    }
    for timeout in ["-1S", "abc", "S", "999999999S"] {
        let answer = server.call(CHECK, &[("grpc-timeout", timeout)], EMPTY_MESSAGE).await;
        assert_eq!(
            answer.refusal(),
            refused(Code::InvalidArgument, "MESSAGE_MALFORMED"),
            "{timeout}"
        );
    }
    let huge = server
        .call("/test.Odd/Slow", &[("grpc-timeout", "99999999H")], EMPTY_MESSAGE)
        .await;
    assert_eq!(huge.status().code(), Code::Ok);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_its_call_alone() {
    let server = Running::start().await;
    for method in ["Panic", "PanicInBody"] {
        let answer = server.call(&format!("/test.Odd/{method}"), &[], EMPTY_MESSAGE).await;
        assert_eq!(answer.refusal(), refused(Code::Internal, "INTERNAL"), "{method}");
        assert!(!answer.status().message().contains("asked to"));
    }
    assert_eq!(server.call(CHECK, &[], EMPTY_MESSAGE).await.status().code(), Code::Ok);
}

#[tokio::test]
async fn other_protocols_are_turned_away_and_the_server_goes_on() {
    let server = Running::start().await;
    let plain = server.send_raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        plain.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close"),
        "{plain}"
    );
    let client_hello = [
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, b'\r', b'\n',
    ];
    for garbage in [
        &[0xff; 64][..],
        &client_hello,
        b"\r\n\x00\x01\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n garbage.....",
    ] {
        let answer = server.send_raw(garbage).await;
        assert!(!answer.contains("panicked") && !answer.contains("200 OK"), "{answer}");
    }
    assert_eq!(server.call(CHECK, &[], EMPTY_MESSAGE).await.status().code(), Code::Ok);
}

fn web_call(headers: &str) -> Vec<u8> {
    let head = format!(
        "POST {CHECK} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/grpc-web+proto\r\n\
         content-length: 5\r\n{headers}\r\n"
    );
    [head.as_bytes(), EMPTY_MESSAGE].concat()
}

#[tokio::test]
async fn grpc_web_works_over_http_1() {
    let server = Running::start().await;
    let answer = server.send_raw(&web_call("x-request-id: web-1\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(
        answer.contains("x-request-id: web-1") && answer.contains("grpc-status:0"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_web_page_calls_only_from_an_allowed_origin() {
    let server = Running::start_with(&[("server.allowed_origins", "https://a.example")]).await;
    let allowed = server.send_raw(&web_call("origin: https://a.example\r\n")).await;
    assert!(
        allowed.contains("access-control-allow-origin: https://a.example"),
        "{allowed}"
    );
    assert!(
        allowed.contains("access-control-expose-headers: grpc-status,grpc-message"),
        "{allowed}"
    );
    for origin in ["https://b.example", "http://a.example", "null", "http://x"] {
        let answer = server.send_raw(&web_call(&format!("origin: {origin}\r\n"))).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{origin}: {answer}");
    }
    let preflight = format!(
        "OPTIONS {CHECK} HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: https://a.example\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: x-grpc-web\r\n\r\n"
    );
    let answer = server.send_raw(preflight.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("access-control-allow-methods: POST"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: x-grpc-web"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_the_place_is_free_again_later() {
    let server = Running::start_with(&[("server.max_connections", "1")]).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let closed = second.read(&mut [0; 1]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop((first, second));
    let begun = Instant::now();
    while call(server.address, CHECK, &[], EMPTY_MESSAGE).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the place stays taken");
    }
}

#[tokio::test]
async fn a_stopping_server_lets_calls_end_and_takes_no_more() {
    let mut server = Running::start().await;
    let address = server.address;
    let slow = tokio::spawn(async move { call(address, "/test.Odd/Slow", &[], EMPTY_MESSAGE).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop();
    assert_eq!(slow.await.unwrap().unwrap().status().code(), Code::Ok);
    server.served.await.unwrap();
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn watchers_of_health_hear_of_the_end_and_do_not_hold_it_up() {
    let mut server = Running::start().await;
    let mut client = server.health().await;
    let request = HealthCheckRequest {
        service: Odd::NAME.to_owned(),
    };
    let mut watched = client.watch(request).await.unwrap().into_inner();
    let status = |answer: Option<tonic_health::pb::HealthCheckResponse>| answer.unwrap().status();
    assert_eq!(status(watched.message().await.unwrap()), ServingStatus::Serving);
    server.stop();
    assert_eq!(status(watched.message().await.unwrap()), ServingStatus::NotServing);
    assert!(watched.message().await.unwrap().is_none());
    let begun = Instant::now();
    server.served.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_dropped() {
    let mut server = Running::start_with(&[("server.drain_timeout", "100ms")]).await;
    let address = server.address;
    let silent = tokio::spawn(async move { call(address, "/test.Odd/Silent", &[], EMPTY_MESSAGE).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop();
    let begun = Instant::now();
    server.served.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
    silent.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn idle_and_silent_connections_do_not_hold_up_the_end() {
    let mut server = Running::start().await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    let _idle = server.health().await;
    server.stop();
    let begun = Instant::now();
    server.served.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[tokio::test]
async fn a_folder_is_served_by_one_server_at_a_time_and_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    let settings = [("data_dir", data_dir.as_str())];
    for _ in 0..2 {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, address) = oneshot::channel();
        let first = serve(
            config(&settings),
            |address| tell.send(address).unwrap(),
            stopped.map(|_| ()),
        );
        let meanwhile = async {
            let address = address.await.unwrap();
            let second = serve(config(&settings), |_| panic!("must not start"), std::future::ready(())).await;
            assert!(
                matches!(second, Err(ServeError::DataDir(DataDirError::InUse { .. }))),
                "{second:?}"
            );
            assert_eq!(
                call(address, CHECK, &[], EMPTY_MESSAGE).await.unwrap().status().code(),
                Code::Ok
            );
            stop.send(()).unwrap();
        };
        let (served, ()) = tokio::join!(Box::pin(first), Box::pin(meanwhile));
        served.unwrap();
    }
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let taken = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = listen(address).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
}
