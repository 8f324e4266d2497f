//! Area of interest: positions in; enter, leave and views out.
