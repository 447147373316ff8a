"""Everything that polysense does, from a path to a result; one module per public function, one room per subject."""
