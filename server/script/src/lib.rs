//! The Luau host: API, sandbox, budgets.
