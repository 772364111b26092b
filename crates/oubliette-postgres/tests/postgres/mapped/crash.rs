//! Servers that are killed and connections that are lost while events are appended to a table.

use super::{EVENTS, events, table};
use crate::{
    crash::{goes_through_kills, goes_through_lost_answers},
    world::postgres,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let Some(postgres) = postgres() else { return };
    let (_, store) = table(&postgres, EVENTS, events()).await;
    goes_through_kills(postgres, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_is_asked_for_and_never_doubled() {
    let Some(postgres) = postgres() else { return };
    let (_, store) = table(&postgres, EVENTS, events()).await;
    goes_through_lost_answers(postgres, store).await;
}
