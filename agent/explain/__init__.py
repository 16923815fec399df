"""Why a decision fell, as data that can be shown to a person."""
