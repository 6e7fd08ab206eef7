"""The page of lskel explain in a browser: headless Chromium, driven by selenium."""
