//! What every store must do, checked against each of them.
