//! Statements that need no answer, collected before they are run.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, StatementBuilder};

use super::{Insert, Result, Txn};

/// Statements to run in order.
#[derive(Debug)]
pub(crate) struct Batch {
    backend: DbBackend,
    statements: Vec<Statement>,
}

impl Batch {
    /// A batch for the database of a transaction.
    pub(crate) fn new(txn: &Txn) -> Self {
        Self {
            backend: txn.get_database_backend(),
            statements: Vec::new(),
        }
    }

    /// Adds a statement.
    pub(crate) fn push(&mut self, statement: &impl StatementBuilder) {
        self.statements.push(self.backend.build(statement));
    }

    /// Adds an insert.
    pub(crate) fn insert(&mut self, insert: Insert) {
        self.statements.push(insert.statement(self.backend));
    }

    /// The database that the statements are written for.
    pub(crate) fn backend(&self) -> DbBackend {
        self.backend
    }

    /// Runs them all and then a query, whose first row it answers.
    pub(crate) async fn run_then(self, txn: &Txn, query: &impl StatementBuilder) -> Result<QueryResult> {
        self.run(txn).await?;
        let row = txn.query_one(query).await?;
        row.ok_or_else(|| DbErr::RecordNotFound("the row that was just written".to_owned()).into())
    }

    /// Runs them all; the first failure leaves the transaction to be rolled back.
    pub(crate) async fn run(self, txn: &Txn) -> Result<()> {
        for statement in self.statements {
            txn.execute_raw(statement).await?;
        }
        Ok(())
    }
}
