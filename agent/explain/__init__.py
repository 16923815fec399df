"""Why a decision fell, as data: one module per kind of decision."""
