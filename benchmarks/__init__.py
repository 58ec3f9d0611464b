"""How fast is glassloop? The same questions to several event loops, interleaved in one run."""
