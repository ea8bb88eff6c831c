//! Several statements that need no answer, sent together.
//!
//! SQLite runs behind a thread of its own, and waking it costs more than most
//! statements. So a batch is one visit there; PostgreSQL takes it one by one.

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, StatementBuilder, Values,
};

use super::Result;

/// Statements to run in order.
#[derive(Debug)]
pub(crate) struct Batch {
    backend: DbBackend,
    statements: Vec<Statement>,
}

impl Batch {
    pub(crate) fn new(backend: DbBackend) -> Self {
        Self {
            backend,
            statements: Vec::new(),
        }
    }

    /// Adds a statement.
    pub(crate) fn push(&mut self, statement: &impl StatementBuilder) {
        self.statements.push(self.backend.build(statement));
    }

    /// The database that the statements are written for.
    pub(crate) fn backend(&self) -> DbBackend {
        self.backend
    }

    /// Runs them all and then a query, whose first row it answers.
    pub(crate) async fn run_then(
        mut self,
        txn: &DatabaseTransaction,
        query: &impl StatementBuilder,
    ) -> Result<QueryResult> {
        let query = self.backend.build(query);
        let row = if self.backend == DbBackend::Sqlite {
            self.statements.push(query);
            txn.query_one_raw(joined(self.statements)).await?
        } else {
            self.run(txn).await?;
            txn.query_one_raw(query).await?
        };
        row.ok_or_else(|| DbErr::RecordNotFound("the row that was just written".to_owned()).into())
    }

    /// Runs them all; the first failure leaves the transaction to be rolled back.
    pub(crate) async fn run(self, txn: &DatabaseTransaction) -> Result<()> {
        if self.statements.is_empty() {
            return Ok(());
        }
        if self.backend == DbBackend::Sqlite {
            txn.execute_raw(joined(self.statements)).await?;
            return Ok(());
        }
        for statement in self.statements {
            txn.execute_raw(statement).await?;
        }
        Ok(())
    }
}

fn joined(statements: Vec<Statement>) -> Statement {
    let mut sql = Vec::with_capacity(statements.len());
    let mut values = Vec::new();
    for statement in statements {
        sql.push(statement.sql);
        values.extend(statement.values.unwrap_or(Values(Vec::new())).0);
    }
    Statement {
        sql: sql.join("; "),
        values: Some(Values(values)),
        db_backend: DbBackend::Sqlite,
    }
}
