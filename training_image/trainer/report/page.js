Charts.drawAll();
