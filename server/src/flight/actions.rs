//! Actions: ending a read from elsewhere, and a longer life for a ticket.

use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint,
    RenewFlightEndpointRequest, Ticket,
};
use artifactd_proto::v1::ErrorReason;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use prost::Message;
use tonic::{Code, Status};

use super::{Flight, info::timestamp, ticket};
use crate::{
    api::{self, layer::CallId, status},
    registry::Caller,
};

type Answers<T> = BoxStream<'static, Result<T, Status>>;

const CANCEL: &str = "CancelFlightInfo";
const RENEW: &str = "RenewFlightEndpoint";

/// Every action that there is.
pub(super) fn all() -> Answers<ActionType> {
    let actions = [
        (CANCEL, "Ends the reads of a FlightInfo that run on this server."),
        (RENEW, "Gives the ticket of an endpoint a later end."),
    ];
    let actions = actions.map(|(name, description)| {
        Ok(ActionType {
            r#type: name.to_owned(),
            description: description.to_owned(),
        })
    });
    stream::iter(actions).boxed()
}

/// Runs an action.
pub(super) async fn run(
    flight: &Flight,
    caller: &Caller,
    action: &Action,
) -> Result<Answers<arrow_flight::Result>, Status> {
    let call_id = api::call_id(caller);
    let body = match action.r#type.as_str() {
        CANCEL => cancel(flight, caller, decoded(&action.body, &call_id)?, &call_id)?.encode_to_vec(),
        RENEW => renew(flight, caller, decoded(&action.body, &call_id)?, &call_id)?.encode_to_vec(),
        other => {
            let what = format!("there is no action {other}");
            return Err(status::status(
                &call_id,
                Code::Unimplemented,
                ErrorReason::MethodUnknown,
                what,
            ));
        }
    };
    let answer = arrow_flight::Result { body: body.into() };
    Ok(stream::iter([Ok(answer)]).boxed())
}

fn decoded<M: Message + Default>(body: &[u8], call_id: &CallId) -> Result<M, Status> {
    M::decode(body).map_err(|error| status::field(call_id, "body", format!("cannot be read: {error}")))
}

/// Ends the reads of all endpoints. What does not run is nothing to wait for.
fn cancel(
    flight: &Flight,
    caller: &Caller,
    request: CancelFlightInfoRequest,
    call_id: &CallId,
) -> Result<CancelFlightInfoResult, Status> {
    let endpoints = request.info.map(|info| info.endpoint).unwrap_or_default();
    let mut ran = false;
    for endpoint in endpoints {
        let ticket = endpoint.ticket.unwrap_or_default().ticket;
        let read = flight.tickets.open(&ticket, caller, call_id)?;
        ran |= flight.running.cancel(&read.id);
    }
    let status = if ran {
        CancelStatus::Cancelled
    } else {
        CancelStatus::NotCancellable
    };
    Ok(CancelFlightInfoResult { status: status.into() })
}

fn renew(
    flight: &Flight,
    caller: &Caller,
    request: RenewFlightEndpointRequest,
    call_id: &CallId,
) -> Result<FlightEndpoint, Status> {
    let mut endpoint = request.endpoint.ok_or_else(|| ticket::invalid(call_id))?;
    let old = endpoint.ticket.take().unwrap_or_default().ticket;
    let (renewed, expires_at_us) = flight.tickets.renew(&old, caller, call_id)?;
    endpoint.ticket = Some(Ticket { ticket: renewed.into() });
    endpoint.expiration_time = Some(timestamp(expires_at_us));
    Ok(endpoint)
}
