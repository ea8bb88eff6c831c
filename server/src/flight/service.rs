//! The calls of the service, each led to where it belongs.

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket, flight_service_server::FlightService,
};
use artifactd_proto::v1::ErrorReason;
use futures::stream::{self, BoxStream};
use tonic::{Code, Extensions, Request, Response, Status, Streaming, async_trait};

use super::{Flight, actions, get, info, put};
use crate::api::{layer::CallId, status};

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn unimplemented(extensions: &Extensions, what: &str) -> Status {
    let call_id = extensions.get::<CallId>().cloned().unwrap_or_default();
    status::status(&call_id, Code::Unimplemented, ErrorReason::MethodUnknown, what)
}

#[async_trait]
impl FlightService for Flight {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    /// Empty: the messages go beside it.
    type DoGetStream = stream::Empty<Result<FlightData, Status>>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unimplemented(request.extensions(), "there is no login"))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let caller = self.caller(&request)?;
        info::list(self, caller, &request.into_inner()).await.map(Response::new)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let caller = self.caller(&request)?;
        info::info(self, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let caller = self.caller(&request)?;
        info::poll(self, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = self.caller(&request)?;
        info::schema(self, &caller, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = self.caller(&request)?;
        get::get(self, caller, request).await
    }

    async fn do_put(&self, mut request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = self.caller(&request)?;
        put::put(self, caller, request.extensions_mut())
            .await
            .map(Response::new)
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unimplemented(request.extensions(), "nothing is exchanged here"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = self.caller(&request)?;
        actions::run(self, &caller, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(actions::all()))
    }
}
