"""Who may do what: rules, tokens, and the one place where they are enforced."""
