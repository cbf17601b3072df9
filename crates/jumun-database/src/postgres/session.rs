//! One connection to the server, with its prepared statements.

use super::address::PostgresAddress;
use crate::limits;
use futures_util::future::join_all;
use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls, Row, Statement, config::SslMode, error::SqlState, types::ToSql};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Makes and migrates the schema, then writes.
    Write,
    /// Reads a row or a few.
    Point,
    /// Reads many rows.
    Query,
}

/// One connection. Statements that are sent at the same time share its round trips.
pub(super) struct Session {
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The address cannot be used.
    #[error("{0}")]
    Address(String),
    #[error("{}", text_of(.0))]
    Driver(tokio_postgres::Error),
    #[error("the server did not answer within {} s", limits::CONNECT_MAX.as_secs())]
    TooLong,
    #[error("there is no runtime to read in")]
    NoRuntime,
}

/// A statement with its parameters.
pub(super) struct Call<'a> {
    sql: Cow<'a, str>,
    parameters: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(sql: impl Into<Cow<'a, str>>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, parameter: impl ToSql + Sync + Send + 'a) -> Self {
        self.parameters.push(Box::new(parameter));
        self
    }
}

impl Session {
    /// Connects. The connection lives in the runtime of the caller, and ends with it.
    pub(super) async fn connect(address: &PostgresAddress, role: Role) -> Result<Self, ConnectError> {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let mut config = address.config().map_err(ConnectError::Address)?;
        config.application_name(format!("jumun {}", address.schema()));
        config.keepalives_idle(limits::SERVER_SILENT_MAX).tcp_user_timeout(limits::SERVER_SILENT_MAX);
        let connect = async {
            if let Some(tls) = address.tls().connector().map_err(ConnectError::Address)? {
                let (client, connection) =
                    config.ssl_mode(SslMode::Require).connect(tls).await.map_err(ConnectError::Driver)?;
                runtime.spawn(connection);
                Ok::<_, ConnectError>(client)
            } else {
                let (client, connection) =
                    config.ssl_mode(SslMode::Disable).connect(NoTls).await.map_err(ConnectError::Driver)?;
                runtime.spawn(connection);
                Ok(client)
            }
        };
        let connect = async {
            let client = connect.await?;
            client.batch_execute(&settings(address, role)).await.map_err(ConnectError::Driver)?;
            Ok(Self { client, statements: Mutex::default() })
        };
        tokio::time::timeout(limits::CONNECT_MAX, connect).await.unwrap_or(Err(ConnectError::TooLong))
    }

    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs SQL without parameters, several statements if need be.
    pub(super) async fn script(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    /// Runs one statement; its rows.
    pub(super) async fn query(&self, call: &Call<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.prepared(&call.sql).await?;
        self.client.query(&statement, &parameters(call)).await
    }

    /// Runs one statement; how many rows it has changed.
    pub(super) async fn execute(&self, call: &Call<'_>) -> Result<u64, tokio_postgres::Error> {
        let statement = self.prepared(&call.sql).await?;
        self.client.execute(&statement, &parameters(call)).await
    }

    /// Runs several statements in order, and sends all of them before it waits for the first answer. Returns the rows of
    /// each, or the first error. It ends when all have been answered.
    pub(super) async fn pipeline(&self, calls: &[Call<'_>]) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        let mut statements = Vec::with_capacity(calls.len());
        for call in calls {
            statements.push(self.prepared(&call.sql).await?);
        }
        let parameters: Vec<_> = calls.iter().map(parameters).collect();
        let sent =
            statements.iter().zip(&parameters).map(|(statement, parameters)| self.client.query(statement, parameters));
        join_all(sent).await.into_iter().collect()
    }

    async fn prepared(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let known =
            |session: &Self| session.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known(self) {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() >= limits::STATEMENTS_PREPARED_MAX {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

fn parameters<'c>(call: &'c Call<'_>) -> Vec<&'c (dyn ToSql + Sync)> {
    call.parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect()
}

/// How this connection works, whatever server, database and user have as defaults.
///
/// * A commit is on disk before it is answered.
/// * A statement that takes too long ends, and so does a transaction whose client is gone.
/// * Plans are not made anew for each group: they do not depend on the parameters, which are keys.
fn settings(address: &PostgresAddress, role: Role) -> String {
    let (longest, plans) = match role {
        Role::Write => (limits::COMMIT_MAX, "force_generic_plan"),
        Role::Point => (limits::READ_MAX, "force_generic_plan"),
        Role::Query => (limits::READ_MAX, "auto"),
    };
    let (schema, longest, silent) = (address.schema(), milliseconds(longest), milliseconds(limits::SERVER_SILENT_MAX));
    let (lock, seconds) = (milliseconds(limits::TABLE_LOCK_WAIT_MAX), limits::SERVER_SILENT_MAX.as_secs());
    format!(
        "SET search_path TO \"{schema}\";
         SET statement_timeout = {longest};
         SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {silent};
         SET tcp_keepalives_idle = {seconds};
         SET tcp_keepalives_interval = {seconds};
         SET tcp_keepalives_count = 2;
         SET tcp_user_timeout = {silent};
         SET default_transaction_isolation = 'read committed';
         SET plan_cache_mode = {plans};
         SET jit = off;
         SET client_min_messages = warning;
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

fn milliseconds(time: Duration) -> u128 {
    time.as_millis()
}

/// Whether an error says nothing about the statement: the connection is gone, or the server is.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        None => error.is_closed() || is_io(error),
        Some(told) => {
            let code = told.code();
            // The words of a severity may be translated, and old servers have no others.
            let is_fatal = matches!(told.severity(), "FATAL" | "PANIC");
            is_fatal
                || *code == SqlState::ADMIN_SHUTDOWN
                || *code == SqlState::CRASH_SHUTDOWN
                || code.code().starts_with("08")
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// An error as people read it: what the server says, or what happened to the connection.
pub(super) fn text_of(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{} (SQLSTATE {})", told.message(), told.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
